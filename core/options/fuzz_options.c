/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_options - any bytes as a configuration file: either settings or problems, never both, never neither; and what
 * --dump-config prints of the settings is read back to the same settings.
 */
#include "core/options/options_internal.h"

struct rule {
    char *name;
    int64_t period;
    double share;
    bool on;
    struct option_list words;
};
#define IN(member) offsetof(struct rule, member)
static const struct option RULE[] = {
    {.name = "name", .type = OPTION_STRING, .offset = IN(name), .help = "name"},
    {.name = "clock.period", .type = OPTION_DURATION, .offset = IN(period), .preset = "1s", .plain_seconds = true,
     .help = "period"},
    {.name = "clock.on", .type = OPTION_BOOL, .offset = IN(on), .preset = "true", .help = "on"},
    {.name = "share", .type = OPTION_NUMBER, .offset = IN(share), .min = 0, .max = 1, .preset = "1", .help = "share"},
    {.name = "words", .type = OPTION_LIST, .offset = IN(words), .max = 3, .help = "words"},
    {.name = NULL},
};

struct settings {
    struct option_sections rules;
    char *site, *path, *file;
    bool insecure;
    int64_t port, period, size;
    double above;
    int level;
    struct option_list channels;
};
#define AT(member) offsetof(struct settings, member)
static const struct option TABLE[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true, .help = "plant"},
    {.name = "broker.path", .type = OPTION_PATH, .offset = AT(path), .preset = "x", .help = "path"},
    {.name = "broker.tls.ca", .type = OPTION_FILE, .offset = AT(file), .preset = "", .help = "file"},
    {.name = "broker.insecure", .type = OPTION_BOOL, .offset = AT(insecure), .preset = "false", .help = "no TLS"},
    {.name = "broker.port", .type = OPTION_INT, .offset = AT(port), .min = 1, .max = 65535,
     .preset = "8883", .help = "port"},
    {.name = "report.period", .type = OPTION_DURATION, .offset = AT(period), .min = 1000,
     .preset = "1s", .help = "period"},
    {.name = "store.size", .type = OPTION_BYTES, .offset = AT(size), .preset = "64MiB", .help = "size"},
    {.name = "alarm.above", .type = OPTION_NUMBER, .offset = AT(above), .preset = ".inf", .help = "limit"},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(level), .words = "error|warn|info",
     .preset = "info", .help = "level"},
    {.name = "sense.channels", .type = OPTION_LIST, .offset = AT(channels), .max = 8,
     .preset = "a,b", .help = "channels"},
    {.name = "rules", .type = OPTION_SECTIONS, .offset = AT(rules), .max = 5, .preset = "first,second",
     .sections = RULE, .section_size = sizeof(struct rule), .help = "rules"},
    {.name = NULL},
};

static const struct options_program PROGRAM = {
    .name = "fuzz", .summary = "fuzz", .table = TABLE, .settings_size = sizeof(struct settings)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dump(const struct reading *first, const struct settings *settings)
{
    struct settings again = {.site = NULL};
    BUFFER(dump, 8 << 20);
    BUFFER(problems, 256 * 1024);
    options_print_dump(first, &dump);
    CLEANUP(reading_deinit) struct reading r;
    if (reading_init(&r, &PROGRAM, "dump.yaml", &again, &problems) != OK) {
        return;
    }
    r.text = buffer_slice(&dump);
    if (reading_run(&r, NULL, 0) != OK) {
        abort();
    }
    for (size_t i = 0; i < r.top.rows; i++) {
        if (!option_equal(&TABLE[i], settings, &again)) {
            abort();
        }
    }
    options_free(&PROGRAM, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings = {.site = NULL};
    BUFFER(problems, 256 * 1024);
    CLEANUP(reading_deinit) struct reading r;
    if (reading_init(&r, &PROGRAM, "fuzz.yaml", &settings, &problems) != OK) {
        return 0;
    }
    r.text = slice_of(data, size);
    enum err err = reading_run(&r, NULL, 0);
    if ((err == OK) != (problems.len == 0) || (err == OK) != (settings.site != NULL)) {
        abort();
    }
    if (err == OK) {
        check_dump(&r, &settings);
        options_free(&PROGRAM, &settings);
    }
    return 0;
}
