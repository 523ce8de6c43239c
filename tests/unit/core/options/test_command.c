/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the command line of a daemon runs, checks, dumps and samples; what is printed for people is itself a good
 * configuration; a reload changes what is live, names the rest and survives a bad file.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/options/options_internal.h"
#include "tests/support/check.h"
#include "tests/unit/core/options/table.h"

static char folder[] = "/tmp/weir-options-XXXXXX";
static char file[64], output[64 * 1024], errors[64 * 1024];
static struct settings settings;
static const struct options_program *program = &PROGRAM;

static void write_file(const char *text)
{
    FILE *f = fopen(file, "w");
    CHECK(f != NULL);
    CHECK(fputs(text, f) >= 0);
    fclose(f);
}

static void slurp(int fd, char *into, size_t size)
{
    ssize_t got = pread(fd, into, size - 1, 0);
    into[got > 0 ? got : 0] = '\0';
    close(fd);
}

/* Runs with stdout and stderr caught; args end with NULL. */
static enum options_outcome run(const char *const *args)
{
    char *argv[16] = {NULL};
    int argc = 0;
    static char words[16][200];
    snprintf(words[0], sizeof(words[0]), "weir-test");
    argv[argc++] = words[0];
    for (; args[argc - 1] != NULL; argc++) {
        snprintf(words[argc], sizeof(words[argc]), "%s", args[argc - 1]);
        argv[argc] = words[argc];
    }
    options_free(&PROGRAM, &settings);
    int out = open("/tmp", O_TMPFILE | O_RDWR, 0600), err = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    fflush(NULL);
    int old_out = dup(1), old_err = dup(2);
    dup2(out, 1);
    dup2(err, 2);
    enum options_outcome outcome = options_main(program, argc, argv, &settings);
    fflush(NULL);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_out);
    close(old_err);
    slurp(out, output, sizeof(output));
    slurp(err, errors, sizeof(errors));
    return outcome;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static void the_file_may_be_the_first_argument_or_named(void **state)
{
    (void)state;
    write_file("site: a\nid: b\n");
    CHECK_INT(RUN(file), OPTIONS_RUN);
    CHECK_STR(settings.id, "b");
    CHECK_INT(RUN("--config", file, "--set", "id=c"), OPTIONS_RUN);
    CHECK_STR(settings.id, "c");
    char joined[100];
    snprintf(joined, sizeof(joined), "--config=%s", file);
    CHECK_INT(RUN(joined, "--set=id=d", "--set=log.level=debug"), OPTIONS_RUN);
    CHECK_STR(settings.id, "d");
    CHECK_INT(settings.level, 3);
    CHECK_STR(options_path(), file);
    size_t count;
    CHECK_STR(options_sets(&count)[1], "log.level=debug");
    CHECK_INT(count, 2);
    CHECK_INT(RUN("--set", "site=x", "--set", "id=y"), OPTIONS_RUN);
    CHECK(options_path() == NULL);
    CHECK_STR(errors, "");
}

static void a_setting_may_be_given_by_its_name(void **state)
{
    (void)state;
    write_file("site: a\nid: b\n");
    CHECK_INT(RUN(file, "--id", "c", "--log.level=debug"), OPTIONS_RUN);
    CHECK_STR(settings.id, "c");
    CHECK_INT(settings.level, 3);
    CHECK_INT(RUN("--site", "x", "--id"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "nothing follows --id");
    CHECK_INT(RUN(file, "--log.levle", "debug"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "unknown option --log.levle; did you mean --log.level?");
    CHECK_INT(RUN(file, "--log.level", "loud"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "log.level");
}

static void relative_paths_start_at_the_file(void **state)
{
    (void)state;
    char want[100];
    write_file("site: a\nid: b\n");
    CHECK_INT(RUN(file), OPTIONS_RUN);
    snprintf(want, sizeof(want), "%s/control.sock", folder);
    CHECK_STR(settings.socket, want);
    CHECK_INT(RUN(file, "--set", "control.socket=here.sock"), OPTIONS_RUN);
    CHECK_STR(settings.socket, "here.sock");
}

static void wrong_usage_names_the_nearest(void **state)
{
    (void)state;
    CHECK_INT(RUN("--chekc"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "unknown option --chekc; did you mean --check?");
    CHECK_INT(RUN("--config"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "nothing follows --config");
    CHECK_INT(RUN("a.yaml", "b.yaml"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "unexpected argument b.yaml");
    CHECK_INT(RUN("--check=yes"), OPTIONS_BAD);
    CHECK_STR(output, "");
}

static void a_file_that_cannot_be_read_is_named_with_the_cause(void **state)
{
    (void)state;
    CHECK_INT(RUN("/no/such/plant.yaml"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "/no/such/plant.yaml: cannot read the configuration file: No such file or directory");
    CHECK_INT(RUN(folder), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "is not a file but a directory");
    CHECK_INT(RUN("/dev/null"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "is not a file but something else");
    CHECK_INT(RUN("--check"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "no configuration file was named; weir-test --sample-config prints one");
    FILE *f = fopen(file, "w");
    for (int i = 0; i < (1 << 20) / 16 + 1; i++) {
        fputs("# 4567890123456\n", f);
    }
    fclose(f);
    CHECK_INT(RUN(file), OPTIONS_BAD);
    CHECK_CONTAINS(errors, ":1:1: the file is larger than 1MiB, which no configuration is: it has 1048592 bytes, and no line "
                           "of it was read\n");
}

static void a_named_pipe_does_not_hang_the_start(void **state)
{
    (void)state;
    char pipe_path[100];
    snprintf(pipe_path, sizeof(pipe_path), "%s/pipe", folder);
    CHECK_INT(mkfifo(pipe_path, 0600), 0);
    CHECK_INT(RUN(pipe_path), OPTIONS_BAD);
    CHECK_CONTAINS(errors, "is not a file");
    unlink(pipe_path);
}

static void check_says_good_or_everything_that_is_bad(void **state)
{
    (void)state;
    write_file("site: a\nid: b\nbroker: {port: 1}\n");
    CHECK_INT(RUN(file, "--check", "--set", "log.level=warn"), OPTIONS_DONE);
    CHECK_CONTAINS(output, "good: 16 settings, 3 from the file, 1 from --set, the others default");
    CHECK(settings.site == NULL);
    write_file("site: a\nbroker: {port: x, tls: {ca: missing.pem}}\n");
    CHECK_INT(RUN(file, "--check"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, ":2:16: broker.port:");
    CHECK_CONTAINS(errors, "broker.tls.ca: cannot read the file");
    CHECK_CONTAINS(errors, "id is missing");
    CHECK_STR(output, "");
}

static enum err try_port(const void *arg, struct buffer *problems)
{
    const struct settings *s = arg;
    buffer_put_str(problems, s->port == 2 ? "broker.port: nobody is there\n" : "");
    return s->port == 2 ? ERR_RANGE : OK;
}

static void check_tries_what_a_start_would_refuse_and_a_start_does_not(void **state)
{
    (void)state;
    struct options_program trying = PROGRAM;
    trying.trial = try_port;
    program = &trying;
    write_file("site: a\nid: b\nbroker: {port: 2}\n");
    CHECK_INT(RUN(file, "--check"), OPTIONS_BAD);
    CHECK_CONTAINS(errors, ":3:16: broker.port: nobody is there");
    CHECK_STR(output, "");
    CHECK(settings.site == NULL);
    CHECK_INT(RUN(file), OPTIONS_RUN);
    CHECK_INT(RUN(file, "--dump-config"), OPTIONS_DONE);
    CHECK_INT(RUN(file, "--check", "--set", "broker.port=3"), OPTIONS_DONE);
    CHECK_CONTAINS(output, "good: ");
    write_file("site: a\nbroker: {port: 2}\n"); /* what is wrong already is enough */
    CHECK_INT(RUN(file, "--check"), OPTIONS_BAD);
    CHECK(strstr(errors, "nobody is there") == NULL);
    program = &PROGRAM;
}

static void the_dump_names_the_origin_of_every_value(void **state)
{
    (void)state;
    char want[200];
    write_file("site: a\nid: b\nbroker:\n  keepalive: 90s\n  host: 'h #1'\n");
    CHECK_INT(RUN(file, "--dump-config", "--set", "log.level=warn"), OPTIONS_DONE);
    snprintf(want, sizeof(want), "  keepalive: 90s                            # %s:4\n", file);
    CHECK_CONTAINS(output, want);
    CHECK_CONTAINS(output, "  level: warn                               # --set\n");
    CHECK_CONTAINS(output, "  port: 8883                                # default\n");
    CHECK_CONTAINS(output, "  host: \"h #1\"  ");
    CHECK_CONTAINS(output, "  #text:                                    # not set\n");
    CHECK_CONTAINS(output, "broker.tls:\n  ca: \"\" ");
}

static void the_dump_is_a_configuration_of_the_same_settings(void **state)
{
    (void)state;
    write_file("site: a\nid: b\nsense.channels: ['', x]\n");
    CHECK_INT(RUN(file, "--dump-config"), OPTIONS_BAD); /* an empty item */
    write_file("site: a\nid: b\nalarm: {above: 1.25, text: \"two\\nlines 'and' \\\"quotes\\\"\"}\n"
               "sense.channels: ['1 , 2', x]\n");
    CHECK_INT(RUN(file), OPTIONS_RUN);
    struct settings first = settings;
    memset(&settings, 0, sizeof(settings));
    CHECK_INT(RUN(file, "--dump-config"), OPTIONS_DONE);
    write_file(output);
    CHECK_INT(RUN(file), OPTIONS_RUN);
    for (const struct option *row = TABLE; row->name != NULL; row++) {
        if (!option_equal(row, &first, &settings)) {
            fprintf(stderr, "%s differs after the dump\n", row->name);
            fail();
        }
    }
    options_free(&PROGRAM, &first);
}

static void the_sample_is_good_once_its_blanks_are_there(void **state)
{
    (void)state;
    CHECK_INT(RUN("--sample-config"), OPTIONS_DONE);
    CHECK_CONTAINS(output, "\nsite: CHANGE-ME\n");
    CHECK_CONTAINS(output, "broker:\n  # Broker. (text, length 1..20, default localhost)\n  #host: localhost\n");
    CHECK_CONTAINS(output, "  # Keep-alive. (duration 1s..1h, default 30s, live)\n");
    write_file(output);
    CHECK_INT(RUN(file), OPTIONS_BAD); /* as it comes it is no configuration */
    CHECK_INT(RUN("--sample-config"), OPTIONS_DONE);
    for (char *blank; (blank = strstr(output, "CHANGE-ME")) != NULL;) {
        memcpy(blank, "plant-one", strlen("plant-one"));
    }
    write_file(output);
    char *open_text = strdup(output);
    CHECK_INT(RUN(file), OPTIONS_RUN);
    CHECK_STR(settings.site, "plant-one");
    CHECK_INT(settings.port, 8883);
    /* Every default that is shown is one: taking the marks away changes nothing. */
    for (char *at = open_text; (at = strchr(at, '#')) != NULL; at++) {
        bool in_front = at == open_text || at[-1] == ' ' || at[-1] == '\n';
        if (in_front && at[1] != ' ' && strncmp(at, "#text", 5) != 0) {
            memmove(at, at + 1, strlen(at));
        }
    }
    write_file(open_text);
    free(open_text);
    enum options_outcome outcome = RUN(file);
    CHECK_STR(errors, "");
    CHECK_INT(outcome, OPTIONS_RUN);
    CHECK_INT(settings.keepalive, 30 * SECOND_US);
}

static void help_and_version_need_no_file(void **state)
{
    (void)state;
    CHECK_INT(RUN("--help"), OPTIONS_DONE);
    CHECK_CONTAINS(output, "weir-test - tests the options");
    CHECK_CONTAINS(output, "  broker.port             whole number 1..65535, default 8883\n      Port.\n");
    CHECK_CONTAINS(output, "--set NAME=VALUE");
    CHECK_INT(RUN("--version"), OPTIONS_DONE);
    CHECK_CONTAINS(output, "weir-test 0.");
}

static void a_reload_changes_what_is_live_and_names_the_rest(void **state)
{
    (void)state;
    write_file("site: a\nid: b\nlog: {level: warn}\nalarm: {text: old}\n");
    CHECK_INT(RUN(file, "--set", "broker.keepalive=10s"), OPTIONS_RUN);
    write_file("site: a\nid: b\nlog: {level: debug}\nalarm: {text: new}\nbroker: {port: 5, keepalive: 99s}\n"
               "sense.channels: [c]\n");
    struct settings fresh = {.site = NULL};
    BUFFER(text, 4096);
    size_t count;
    const char *const *sets = options_sets(&count);
    CHECK_OK(options_load(&PROGRAM, options_path(), sets, count, &fresh, &text));
    options_apply_live(&PROGRAM, &settings, &fresh, &text);
    buffer_put_u8(&text, 0);
    CHECK_STR((const char *)text.ptr, "changed log.level: warn -> debug\n"
                                      "needs a restart: broker.port\n"
                                      "changed alarm.text: old -> new\n"
                                      "changed sense.channels: [a, b] -> [c]\n");
    CHECK_INT(settings.level, 3);
    CHECK_INT(settings.port, 8883);
    CHECK_INT(settings.keepalive, 10 * SECOND_US);
    CHECK_STR(settings.text, "new");
    CHECK_INT(settings.channels.count, 1);
    options_free(&PROGRAM, &fresh);
}

static void a_reload_of_a_bad_file_leaves_nothing_behind(void **state)
{
    (void)state;
    write_file("site: a\nid: b c\nlog: {level: debug}\n");
    struct settings fresh = {.site = NULL};
    BUFFER(text, 4096);
    CHECK_ERR(options_load(&PROGRAM, file, NULL, 0, &fresh, &text), ERR_RANGE);
    CHECK(fresh.site == NULL && fresh.level == 0 && fresh.channels.items == NULL);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, ":2:5: id: \"b c\" is not an identity");
    CHECK_ERR(options_load(&PROGRAM, "/no/such/file", NULL, 0, &fresh, &text), ERR_IO);
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(file, sizeof(file), "%s/plant.yaml", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_may_be_the_first_argument_or_named),
        cmocka_unit_test(a_setting_may_be_given_by_its_name),
        cmocka_unit_test(relative_paths_start_at_the_file),
        cmocka_unit_test(wrong_usage_names_the_nearest),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named_with_the_cause),
        cmocka_unit_test(a_named_pipe_does_not_hang_the_start),
        cmocka_unit_test(check_says_good_or_everything_that_is_bad),
        cmocka_unit_test(check_tries_what_a_start_would_refuse_and_a_start_does_not),
        cmocka_unit_test(the_dump_names_the_origin_of_every_value),
        cmocka_unit_test(the_dump_is_a_configuration_of_the_same_settings),
        cmocka_unit_test(the_sample_is_good_once_its_blanks_are_there),
        cmocka_unit_test(help_and_version_need_no_file),
        cmocka_unit_test(a_reload_changes_what_is_live_and_names_the_rest),
        cmocka_unit_test(a_reload_of_a_bad_file_leaves_nothing_behind),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    options_free(&PROGRAM, &settings);
    unlink(file);
    rmdir(folder);
    return failed;
}
