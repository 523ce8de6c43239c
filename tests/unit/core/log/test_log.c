/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a line is one line whatever it is given, levels and the rate limit hold, what was left out is counted, and
 * lines of several threads do not mix. Stderr is turned into a file for the length of a test.
 */
#include "core/log/log.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/check.h"

static char captured[1 << 20];
static int file_fd = -1, real_stderr = -1;

static void capture_start(void)
{
    FILE *f = tmpfile();
    CHECK(f != NULL);
    file_fd = dup(fileno(f));
    fclose(f);
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    CHECK(dup2(file_fd, STDERR_FILENO) >= 0);
}

static const char *capture_end(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    ssize_t n = pread(file_fd, captured, sizeof(captured) - 1, 0);
    CHECK(n >= 0);
    captured[n] = '\0';
    close(file_fd);
    return captured;
}

static size_t count(const char *in, const char *part)
{
    size_t n = 0;
    for (; (in = strstr(in, part)) != NULL; in += strlen(part)) {
        n++;
    }
    return n;
}

/* The line from the level on: without its time. */
static const char *after_time(const char *line)
{
    CHECK(strlen(line) > 25);
    CHECK_INT(line[10], 'T');
    CHECK_INT(line[19], '.');
    CHECK_INT(line[23], 'Z');
    return line + 25;
}

static int setup(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    log_setup("gateway", LOG_INFO);
    return 0;
}

static void a_line_has_time_level_place_text_and_values(void **state)
{
    (void)state;
    capture_start();
    log_info("refused", KV_STR("device", "pump-7"), KV_STR("reason", "sequence 0"), KV_U64("n", UINT64_MAX),
             KV_I64("i", -3), KV_HEX("epoch", 0xabc), KV_F64("x", 21.5), KV_ERR(ERR_FULL), KV_STR("none", NULL),
             KV_SLICE("s", slice_of("abcd", 2)));
    CHECK_STR(after_time(capture_end()),
              "info gateway/test: refused device=pump-7 reason=\"sequence 0\" n=18446744073709551615 i=-3 "
              "epoch=0000000000000abc x=21.5 error=full none=null s=ab\n");
}

static void a_line_without_values_is_allowed(void **state)
{
    (void)state;
    capture_start();
    log_warn("started");
    CHECK_STR(after_time(capture_end()), "warn gateway/test: started\n");
}

static void a_peer_cannot_forge_a_line_or_a_pair(void **state)
{
    (void)state;
    capture_start();
    log_info("got\nit", KV_STR("a", "x\n2026 error forged"), KV_STR("b", "1 c=2"), KV_STR("p", "q=r"),
             KV_STR("q", "say \"no\" \\"), KV_STR("e", ""), KV_SLICE("z", slice_of("\0\x1b[2J\xff\xc2\x9b", 8)),
             KV_STR("u", "20 \xc2\xb0\x43"));
    CHECK_STR(after_time(capture_end()),
              "info gateway/test: got\\nit a=\"x\\n2026 error forged\" b=\"1 c=2\" p=\"q=r\" "
              "q=\"say \\\"no\\\" \\\\\" e=\"\" z=\"\\x00\\x1b[2J\\xff\\xc2\\x9b\" u=\"20 \xc2\xb0\x43\"\n");
}

static void a_line_that_is_too_long_is_cut_and_marked(void **state)
{
    (void)state;
    static char plain[5000], spaced[5000];
    memset(plain, 'p', sizeof(plain) - 1);
    memset(spaced, ' ', sizeof(spaced) - 1);
    capture_start();
    log_info("long", KV_STR("a", plain), KV_STR("b", "after"));
    const char *got = capture_end();
    CHECK_INT(strlen(got), LOG_LINE);
    CHECK_STR(got + LOG_LINE - 7, "ppp...\n");
    capture_start();
    log_info("long", KV_STR("a", spaced));
    got = capture_end();
    CHECK(strlen(got) <= LOG_LINE);
    CHECK_STR(got + strlen(got) - 5, " ...\n");
    CHECK_INT(count(got, "\n"), 1);
}

static void levels_below_the_lowest_are_silent(void **state)
{
    (void)state;
    capture_start();
    log_debug("hidden");
    log_setup("gateway", LOG_ERROR);
    log_warn("hidden too");
    log_error("shown");
    const char *got = capture_end();
    CHECK_INT(count(got, "\n"), 1);
    CHECK_CONTAINS(got, "error gateway/test: shown");
}

static void under_the_journal_a_line_has_a_priority_and_no_time(void **state)
{
    (void)state;
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_setup("bridge", LOG_DEBUG);
    capture_start();
    log_error("a");
    log_debug("b");
    CHECK_STR(capture_end(), "<3>error bridge/test: a\n<7>debug bridge/test: b\n");
}

static void level_names_are_parsed_strictly(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    CHECK_OK(log_level_parse("debug", &level));
    CHECK_INT(level, LOG_DEBUG);
    CHECK_OK(log_level_parse("warn", &level));
    CHECK_INT(level, LOG_WARN);
    CHECK_ERR(log_level_parse("warning", &level), ERR_RANGE);
    CHECK_ERR(log_level_parse("", &level), ERR_RANGE);
    CHECK_INT(level, LOG_WARN);
}

static void a_site_that_repeats_is_cut_off_and_counted_by_the_next_line_of_any_site(void **state)
{
    (void)state;
    static struct log_site noisy;
    char text[] = "noise"; /* the caller's own: the site must not keep the pointer */
    capture_start();
    for (int i = 0; i < LOG_BURST + 7; i++) {
        log_write(&noisy, LOG_WARN, "ingest", text, NULL, 0);
    }
    memset(text, '?', 5);
    log_info("quiet"); /* another site: not limited, and the window is not over yet */
    const char *got = capture_end();
    CHECK_INT(count(got, "noise"), LOG_BURST);
    CHECK_INT(count(got, "quiet"), 1);
    CHECK_INT(count(got, "left_out"), 0);

    noisy.window_start_us -= LOG_WINDOW_US; /* ten seconds later */
    capture_start();
    log_info("later");
    log_write(&noisy, LOG_WARN, "ingest", "noise again", NULL, 0);
    got = capture_end();
    CHECK_INT(count(got, "warn gateway/ingest: noise left_out=7\n"), 1);
    CHECK_INT(count(got, "left_out"), 1);
    CHECK_INT(count(got, "noise again\n"), 1);
}

static void a_new_window_lets_a_burst_through_again(void **state)
{
    (void)state;
    static struct log_site site;
    capture_start();
    for (int window = 0; window < 3; window++) {
        for (int i = 0; i < LOG_BURST * 2; i++) {
            log_write(&site, LOG_INFO, "m", "tick", NULL, 0);
        }
        site.window_start_us -= LOG_WINDOW_US;
    }
    log_info("end");
    const char *got = capture_end();
    CHECK_INT(count(got, "tick\n"), LOG_BURST * 3);
    CHECK_INT(count(got, "tick left_out=20\n"), 3);
}

static void what_was_left_out_is_told_at_the_programs_end(void **state)
{
    (void)state;
    capture_start();
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < LOG_BURST + 3; i++) {
            log_info("last words");
        }
        exit(0);
    }
    CHECK(waitpid(pid, NULL, 0) == pid);
    CHECK_INT(count(capture_end(), "last words left_out=3\n"), 1);
}

enum { THREADS = 4, LINES = 500 };
static void *write_lines(void *arg)
{
    static struct log_site shared;
    for (int i = 0; i < LINES; i++) {
        log_write(NULL, LOG_INFO, "thread", "line", &KV_STR("who", arg), 1);
        log_write(&shared, LOG_INFO, "thread", "limited", NULL, 0);
    }
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char names[THREADS][40];
    capture_start();
    for (size_t i = 0; i < THREADS; i++) {
        memset(names[i], (int)('a' + i), 39);
        names[i][39] = '\0';
        CHECK_INT(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    const char *got = capture_end();
    CHECK_INT(count(got, "thread: limited"), LOG_BURST);
    CHECK_INT(count(got, "\n"), THREADS * LINES + LOG_BURST);
    for (size_t i = 0; i < THREADS; i++) {
        char whole[256];
        snprintf(whole, sizeof(whole), "Z info gateway/thread: line who=%s\n", names[i]);
        CHECK_INT(count(got, whole), LINES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_has_time_level_place_text_and_values, setup),
        cmocka_unit_test_setup(a_line_without_values_is_allowed, setup),
        cmocka_unit_test_setup(a_peer_cannot_forge_a_line_or_a_pair, setup),
        cmocka_unit_test_setup(a_line_that_is_too_long_is_cut_and_marked, setup),
        cmocka_unit_test_setup(levels_below_the_lowest_are_silent, setup),
        cmocka_unit_test_setup(under_the_journal_a_line_has_a_priority_and_no_time, setup),
        cmocka_unit_test_setup(level_names_are_parsed_strictly, setup),
        cmocka_unit_test_setup(a_site_that_repeats_is_cut_off_and_counted_by_the_next_line_of_any_site, setup),
        cmocka_unit_test_setup(a_new_window_lets_a_burst_through_again, setup),
        cmocka_unit_test_setup(what_was_left_out_is_told_at_the_programs_end, setup),
        cmocka_unit_test_setup(lines_of_several_threads_stay_whole, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
