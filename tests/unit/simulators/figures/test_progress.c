/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the progress line says what matters in the width there is; on a terminal it is rewritten in place and taken
 * away, elsewhere it is a plain line every five seconds.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "simulators/figures/figures.h"
#include "tests/support/check.h"

static const struct progress_state FULL = {.phase = "load",
                                           .elapsed_us = 83 * SECOND_US,
                                           .total_us = 130 * SECOND_US,
                                           .connected = 18995,
                                           .wanted = 19000,
                                           .rate = 18950.4,
                                           .rate_unit = "rec/s",
                                           .p50_us = 1234,
                                           .p99_us = 8100,
                                           .p999_us = 22400,
                                           .trouble = 3,
                                           .trouble_name = "refused"};
static char line[400];

static const char *formatted(const struct progress_state *state, unsigned width)
{
    size_t len = progress_format(state, width, line, sizeof(line));
    CHECK_INT(len, strlen(line));
    CHECK(width == 0 || len <= width);
    return line;
}

static void the_whole_line_says_everything(void **state)
{
    (void)state;
    CHECK_STR(formatted(&FULL, 0), "load 1:23  ETA 47 s  18,995/19,000 up  18,950 rec/s  p50 1.23 ms  p99 8.1 ms  "
                                   "p99.9 22.4 ms  3 refused");
}

static void what_is_not_known_is_not_said(void **state)
{
    (void)state;
    const struct progress_state bare = {
        .phase = "drain", .elapsed_us = 1, .rate = 0.25, .p50_us = -1, .p99_us = -1, .p999_us = -1};
    CHECK_STR(formatted(&bare, 0), "drain 0 s  0.25 /s");
    struct progress_state late = FULL;
    late.elapsed_us = late.total_us + SECOND_US;
    CHECK_CONTAINS(formatted(&late, 0), "ETA 0 s");
}

static void what_matters_least_goes_first_when_it_is_narrow(void **state)
{
    (void)state;
    CHECK_STR(formatted(&FULL, 90), "load 1:23  ETA 47 s  18,995/19,000 up  18,950 rec/s  p50 1.23 ms  p99 8.1 ms  "
                                    "3 refused");
    CHECK_STR(formatted(&FULL, 79), "load 1:23  ETA 47 s  18,995/19,000 up  18,950 rec/s  p99 8.1 ms  3 refused");
    CHECK_STR(formatted(&FULL, 40), "load 1:23  ETA 47 s  18,950 rec/s");
    CHECK_STR(formatted(&FULL, 24), "load 1:23  18,950 rec/s");
    CHECK_STR(formatted(&FULL, 9), "load 1:23");
    CHECK_STR(formatted(&FULL, 6), "load 1");
    for (unsigned width = 1; width < 120; width++) {
        (void)formatted(&FULL, width);
    }
    CHECK_INT(progress_format(&FULL, 0, line, 10), 9);
}

static void a_file_gets_a_plain_line_every_five_seconds(void **state)
{
    (void)state;
    struct progress p;
    char *text;
    size_t size;
    FILE *to = tmpfile();
    progress_init(&p, to, PROGRESS_AUTO);
    CHECK(!p.rewrite);
    for (int64_t now = 100; now <= 100 + 11 * SECOND_US; now += SECOND_US / 10) {
        progress_show(&p, now, &FULL);
    }
    progress_clear(&p);
    size = (size_t)ftell(to);
    text = calloc(1, size + 1);
    rewind(to);
    CHECK_INT(fread(text, 1, size, to), size);
    unsigned lines = 0;
    for (const char *c = text; *c != '\0'; c++) {
        CHECK(*c != '\r' && *c != '\033');
        lines += *c == '\n';
    }
    CHECK_INT(lines, 3);
    free(text);
    fclose(to);
}

static void off_says_nothing(void **state)
{
    (void)state;
    struct progress p;
    FILE *to = tmpfile();
    progress_init(&p, to, PROGRESS_OFF);
    progress_show(&p, 0, &FULL);
    progress_clear(&p);
    CHECK_INT(ftell(to), 0);
    fclose(to);
}

static void a_terminal_has_one_line_rewritten_in_its_width(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *to = fopen(ptsname(master), "w");
    CHECK(to != NULL);
    const struct winsize size = {.ws_row = 24, .ws_col = 41};
    CHECK_INT(ioctl(fileno(to), TIOCSWINSZ, &size), 0);
    setenv("TERM", "xterm", 1);
    struct progress p;
    progress_init(&p, to, PROGRESS_AUTO);
    CHECK(p.rewrite);
    for (int64_t now = 0; now < SECOND_US; now += SECOND_US / 100) {
        progress_show(&p, now, &FULL);
    }
    progress_clear(&p);
    const char *once = "\rload 1:23  ETA 47 s  18,950 rec/s\033[K";
    char want[2000] = "";
    for (int i = 0; i < 4; i++) { /* 4 times a second */
        strcat(want, once);
    }
    strcat(want, "\r\033[K");
    char got[2000] = "";
    struct pollfd ready = {.fd = master, .events = POLLIN};
    for (size_t len = 0; len < strlen(want) && poll(&ready, 1, 10000) == 1;) {
        ssize_t more = read(master, got + len, sizeof(got) - 1 - len);
        CHECK(more > 0);
        len += (size_t)more;
    }
    CHECK_STR(got, want);
    setenv("TERM", "dumb", 1);
    progress_init(&p, to, PROGRESS_AUTO);
    CHECK(!p.rewrite);
    progress_init(&p, to, PROGRESS_LINES);
    CHECK(!p.rewrite);
    fclose(to);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_line_says_everything),
        cmocka_unit_test(what_is_not_known_is_not_said),
        cmocka_unit_test(what_matters_least_goes_first_when_it_is_narrow),
        cmocka_unit_test(a_file_gets_a_plain_line_every_five_seconds),
        cmocka_unit_test(off_says_nothing),
        cmocka_unit_test(a_terminal_has_one_line_rewritten_in_its_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
