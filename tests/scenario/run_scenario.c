/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a story in virtual time, told in a small language, run on the products' own code.
 *
 *   # comment; the first line says what must hold
 *   devices 2            seed 7            period 1s          samples 10        (before anything else; all optional)
 *   channels 2           device-store 4MiB  bulk 64KiB         gateway-store 64MiB   mistake ack-before-commit
 *   lines 2              site yes           (gateways line-1, line-2 under site1; without lines there is gw1)
 *   at 10s  link device-1 down|silent|up        the link of a device, or of gw1 to its parent
 *   at 20s  crash gw1        start gw1          broker plant 3s        (killed, empty, back after 3 s; or broker gw1)
 *   at 30s  faults plant loss 2% duplicate 1% reorder 1% delay 20ms jitter 10ms
 *   at 40s  clock device-1 1970|2038|now        disk gw1 ok|full|eio
 *   at 50s  snapshot device-1     restore device-1     wipe device-1     alarm device-1
 *   at 60s  expect waiting >= 10                every field of struct world_report by name; = == >= <= > <
 *   settle 10min                                stop sampling, mend everything, drain
 *   expect lost = 0                             after settling
 *
 * Durations: 250us 20ms 5s 10min 2h 7d, and sums such as 7d12h. Times do not go back.
 * Exit 0 when every expectation held, 1 when one did not, 2 for a line that is not understood (file:line).
 */
#include <ctype.h>
#include <stdio.h>

#include "core/log/log.h"
#include "simulators/world/world.h"

enum { WORDS_MAX = 16, LINE_MAX_BYTES = 512 };

struct story {
    const char *path;
    unsigned line;
    struct world_options options;
    struct world *world;
    int64_t start_us, reached_us;
    unsigned expectations, failures;
    bool settled;
};

static void wrong(const struct story *s, const char *what, const char *word)
{
    fprintf(stderr, "%s:%u: %s '%s'\n", s->path, s->line, what, word ? word : "");
}

static bool parse_duration(const char *text, int64_t *ret_us)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"us", 1},         {"ms", MS_US}, {"min", MINUTE_US}, {"s", SECOND_US},
                 {"m", MINUTE_US},  {"h", HOUR_US}, {"d", DAY_US}};
    int64_t total = 0;
    while (*text != '\0') {
        char *end = NULL;
        double number = strtod(text, &end);
        bool found = false;
        for (size_t i = 0; end != text && i < COUNT_OF(units) && !found; i++) {
            size_t len = strlen(units[i].unit);
            if (strncmp(end, units[i].unit, len) == 0 && !isalpha((unsigned char)end[len])) {
                total += (int64_t)(number * (double)units[i].us);
                text = end + len;
                found = true;
            }
        }
        if (!found) {
            return false;
        }
    }
    *ret_us = total;
    return true;
}

static bool parse_bytes(const char *text, uint64_t *ret)
{
    char *end = NULL;
    uint64_t value = strtoull(text, &end, 10);
    uint64_t unit = strcmp(end, "MiB") == 0 ? 1 << 20 : strcmp(end, "KiB") == 0 ? 1 << 10 : *end == '\0' ? 1 : 0;
    *ret = value * unit;
    return end != text && unit != 0;
}

static bool parse_ppm(const char *text, unsigned *ret)
{
    char *end = NULL;
    double percent = strtod(text, &end);
    *ret = (unsigned)(percent * 10000);
    return end != text && strcmp(end, "%") == 0 && percent >= 0 && percent <= 100;
}

/* ---- settings before the world exists ---- */

static bool setting(struct story *s, char **words, size_t count)
{
    struct world_options *o = &s->options;
    if (count != 2) {
        return false;
    }
    if (strcmp(words[0], "mistake") == 0) {
        return world_mistake_parse(words[1], &o->mistake) == OK;
    }
    if (strcmp(words[0], "site") == 0) {
        o->site = strcmp(words[1], "yes") == 0;
        return o->site || strcmp(words[1], "no") == 0;
    }
    if (strcmp(words[0], "period") == 0) {
        return parse_duration(words[1], &o->period_us);
    }
    if (strcmp(words[0], "flush") == 0) {
        return parse_duration(words[1], &o->flush_us);
    }
    if (strcmp(words[0], "device-store") == 0) {
        return parse_bytes(words[1], &o->device_store_bytes);
    }
    if (strcmp(words[0], "bulk") == 0) {
        return parse_bytes(words[1], &o->bulk_bytes);
    }
    if (strcmp(words[0], "gateway-store") == 0) {
        return parse_bytes(words[1], &o->gateway_store_bytes);
    }
    unsigned *number = strcmp(words[0], "devices") == 0    ? &o->devices
                       : strcmp(words[0], "samples") == 0  ? &o->samples
                       : strcmp(words[0], "channels") == 0 ? &o->channels
                       : strcmp(words[0], "lines") == 0    ? &o->lines
                                                           : NULL;
    if (strcmp(words[0], "seed") == 0) {
        o->seed = strtoull(words[1], NULL, 10);
        return true;
    }
    if (number == NULL) {
        return false;
    }
    *number = (unsigned)strtoul(words[1], NULL, 10);
    return true;
}

static bool have_world(struct story *s)
{
    if (s->world != NULL) {
        return true;
    }
    enum err err = world_new(&s->options, &s->world);
    if (err != OK) {
        wrong(s, "the world does not start:", err_name(err));
        return false;
    }
    s->start_us = world_now_us(s->world);
    return true;
}

/* ---- actions ---- */

static bool act_faults(struct story *s, char **words, size_t count)
{
    struct bus_faults f = {.delay_us = MS_US, .jitter_us = MS_US / 2};
    for (size_t i = 2; i + 1 < count; i += 2) {
        bool good = strcmp(words[i], "loss") == 0        ? parse_ppm(words[i + 1], &f.loss_ppm)
                    : strcmp(words[i], "duplicate") == 0 ? parse_ppm(words[i + 1], &f.duplicate_ppm)
                    : strcmp(words[i], "reorder") == 0   ? parse_ppm(words[i + 1], &f.reorder_ppm)
                    : strcmp(words[i], "delay") == 0     ? parse_duration(words[i + 1], &f.delay_us)
                    : strcmp(words[i], "jitter") == 0    ? parse_duration(words[i + 1], &f.jitter_us)
                                                         : false;
        if (!good) {
            return false;
        }
    }
    return count >= 2 && world_faults(s->world, words[1], &f) == OK;
}

static bool act_named(struct story *s, char **words, size_t count)
{
    static const struct {
        const char *word;
        enum err (*fn)(struct world *world, const char *node);
    } acts[] = {{"crash", world_crash},       {"start", world_start}, {"snapshot", world_snapshot},
                {"restore", world_restore},   {"wipe", world_wipe},   {"alarm", world_alarm}};
    for (size_t i = 0; i < COUNT_OF(acts); i++) {
        if (strcmp(words[0], acts[i].word) == 0) {
            return count == 2 && acts[i].fn(s->world, words[1]) == OK;
        }
    }
    return false;
}

static bool act(struct story *s, char **words, size_t count)
{
    if (count >= 2 && strcmp(words[0], "faults") == 0) {
        return act_faults(s, words, count);
    }
    if (count == 3 && strcmp(words[0], "link") == 0) {
        enum bus_link link = strcmp(words[2], "up") == 0     ? BUS_LINK_UP
                             : strcmp(words[2], "down") == 0 ? BUS_LINK_DOWN
                                                             : BUS_LINK_SILENT;
        return (link != BUS_LINK_SILENT || strcmp(words[2], "silent") == 0) &&
               world_link(s->world, words[1], link) == OK;
    }
    if (count == 3 && strcmp(words[0], "broker") == 0) {
        int64_t down = 0;
        return parse_duration(words[2], &down) && world_broker_restart(s->world, words[1], down) == OK;
    }
    if (count == 3 && strcmp(words[0], "clock") == 0) {
        int64_t wall = strcmp(words[2], "1970") == 0   ? 0
                       : strcmp(words[2], "2038") == 0 ? INT64_C(2147483640) * SECOND_US
                       : strcmp(words[2], "now") == 0  ? INT64_C(1767225600) * SECOND_US + world_now_us(s->world)
                                                       : -1;
        return wall >= 0 && world_clock(s->world, words[1], wall) == OK;
    }
    if (count == 3 && strcmp(words[0], "disk") == 0) {
        enum store_disk_mode mode = strcmp(words[2], "full") == 0  ? STORE_DISK_FULL
                                    : strcmp(words[2], "eio") == 0 ? STORE_DISK_EIO
                                                                   : STORE_DISK_OK;
        return (mode != STORE_DISK_OK || strcmp(words[2], "ok") == 0) && world_disk(s->world, words[1], mode) == OK;
    }
    return act_named(s, words, count);
}

/* ---- expectations ---- */

static bool field(const struct world_report *r, bool settled, const char *name, int64_t *ret)
{
    const struct {
        const char *name;
        int64_t value;
    } fields[] = {{"durable", (int64_t)r->durable},       {"delivered", (int64_t)r->delivered},
                  {"lost", (int64_t)r->lost},             {"duplicated", (int64_t)r->duplicated},
                  {"reordered", (int64_t)r->reordered},   {"corrupt", (int64_t)r->corrupt},
                  {"phantom", (int64_t)r->phantom},       {"gaps", (int64_t)r->gaps},
                  {"suppressed", (int64_t)r->suppressed}, {"order-broken", (int64_t)r->order_broken},
                  {"epochs", (int64_t)r->epochs},         {"closed", (int64_t)r->closed},
                  {"alarms", (int64_t)r->alarms},         {"alarm-delay-ms", r->alarm_delay_us / 1000},
                  {"waiting", (int64_t)r->waiting},          {"undeclared", (int64_t)r->undeclared},
                  {"unfounded", (int64_t)r->unfounded},      {"acked-early", (int64_t)r->acked_early},
                  {"hop-gaps", (int64_t)r->hop_gaps},        {"absorbed", (int64_t)r->absorbed},
                  {"violations", (int64_t)world_violations(r, settled)}};
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (strcmp(name, fields[i].name) == 0) {
            *ret = fields[i].value;
            return true;
        }
    }
    return false;
}

static bool holds(int64_t is, const char *op, int64_t want)
{
    return strcmp(op, ">=") == 0   ? is >= want
           : strcmp(op, "<=") == 0 ? is <= want
           : strcmp(op, ">") == 0  ? is > want
           : strcmp(op, "<") == 0  ? is < want
                                   : is == want;
}

static bool expect(struct story *s, char **words, size_t count)
{
    struct world_report report;
    world_report(s->world, &report);
    int64_t is = 0;
    if (count != 4 || !field(&report, s->settled, words[1], &is) || strchr("=<>", words[2][0]) == NULL) {
        return false;
    }
    int64_t want = strtoll(words[3], NULL, 10);
    s->expectations++;
    if (!holds(is, words[2], want)) {
        s->failures++;
        fprintf(stderr, "%s:%u: %s is %lld, expected %s %lld\n%s", s->path, s->line, words[1], (long long)is, words[2],
                (long long)want, world_complaints(s->world));
    }
    return true;
}

static bool settle(struct story *s, char **words, size_t count)
{
    int64_t limit = 0;
    if (count != 2 || !parse_duration(words[1], &limit)) {
        return false;
    }
    s->expectations++;
    s->settled = true;
    if (!world_settle(s->world, limit)) {
        s->failures++;
        struct world_report report;
        world_report(s->world, &report);
        fprintf(stderr, "%s:%u: not drained after %s, %llu waiting\n%s", s->path, s->line, words[1],
                (unsigned long long)report.waiting, world_complaints(s->world));
    }
    return true;
}

static bool at(struct story *s, char **words, size_t count)
{
    int64_t when = 0;
    if (count < 3 || !parse_duration(words[1], &when) || when < s->reached_us) {
        return false;
    }
    s->reached_us = when;
    world_run(s->world, s->start_us + when);
    return strcmp(words[2], "expect") == 0 ? expect(s, words + 2, count - 2) : act(s, words + 2, count - 2);
}

static bool run_line(struct story *s, char *line)
{
    char *words[WORDS_MAX], *save = NULL;
    size_t count = 0;
    line[strcspn(line, "#\r\n")] = '\0';
    for (char *w = strtok_r(line, " \t", &save); w != NULL && count < WORDS_MAX; w = strtok_r(NULL, " \t", &save)) {
        words[count++] = w;
    }
    if (count == 0) {
        return true;
    }
    if (s->world == NULL && setting(s, words, count)) {
        return true;
    }
    if (!have_world(s)) {
        return false;
    }
    bool good = strcmp(words[0], "at") == 0       ? at(s, words, count)
                : strcmp(words[0], "expect") == 0 ? expect(s, words, count)
                : strcmp(words[0], "settle") == 0 ? settle(s, words, count)
                                                  : false;
    if (!good) {
        wrong(s, "not understood, or not possible:", words[0]);
    }
    return good;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: run_scenario FILE.scn\n");
        return 2;
    }
    log_setup("scenario", getenv("SCENARIO_LOG") ? LOG_DEBUG : LOG_ERROR);
    struct story s = {.path = argv[1],
                      .options = {.seed = 1, .devices = 1, .period_us = SECOND_US, .samples = 10}};
    FILE *f = fopen(argv[1], "r");
    if (f == NULL) {
        fprintf(stderr, "%s: cannot be read\n", argv[1]);
        return 2;
    }
    char line[LINE_MAX_BYTES];
    bool good = true;
    while (good && fgets(line, sizeof(line), f) != NULL) {
        s.line++;
        good = run_line(&s, line);
    }
    fclose(f);
    struct world_report r = {0};
    int64_t days_ms = 0;
    if (s.world != NULL) {
        world_report(s.world, &r);
        days_ms = (world_now_us(s.world) - s.start_us) / 1000;
    }
    printf("expectations=%u failures=%u simulated_s=%lld durable=%llu delivered=%llu lost=%llu duplicated=%llu "
           "reordered=%llu gaps=%llu phantom=%llu\n",
           s.expectations, s.failures, (long long)(days_ms / 1000), (unsigned long long)r.durable,
           (unsigned long long)r.delivered, (unsigned long long)r.lost, (unsigned long long)r.duplicated,
           (unsigned long long)r.reordered, (unsigned long long)r.gaps, (unsigned long long)r.phantom);
    world_free(s.world);
    return !good ? 2 : s.failures > 0 || s.expectations == 0 ? 1 : 0;
}
