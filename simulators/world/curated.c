/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of the world's gateways, and the account of what they do to values.
 *
 * Channels from 1 on pass no rule but windows with raw: drop. So of every record that a gateway has seen holds, per
 * stream and such channel: values in the sink + values in windows + late for every window + in windows still open =
 * values measured. The first three are counted in the sink; when windows have been closed (world_close_windows) the
 * sum must be exact, whatever crashed.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/cursor.h"
#include "device/sense/sense.h"
#include "proto/block/block.h"
#include "simulators/world/world_internal.h"

static const struct {
    const char *name, *text;
} sets[WORLD_RULES_COUNT] = {
    {"none", ""},
    {"thin", "rules:\n"
             "  plausible: {channels: pattern_0, do: range, min: -900000, max: 900000}\n"
             "  calm: {channels: pattern_0, do: deadband, abs: 600000, heartbeat: 30s}\n"},
    {"windows", "rules:\n"
                "  changed: {channels: pattern_0, do: on-change}\n"
                "  ten: {channels: pattern_1, do: window, length: 10s, late: 2s, raw: drop}\n"
                "  slide: {channels: pattern_2, do: window, length: 10s, late: 0s, quantiles: [0.5], raw: drop}\n"},
    {"capture", "rules:\n"
                "  peak: {channels: pattern_0, do: capture, above: 1044000, before: 3s, after: 5s}\n"
                "  twice: {channels: pattern_0, do: dedupe}\n"
                "  calm: {channels: pattern_0, do: deadband, abs: 900000}\n"
                "  ten: {channels: pattern_2, do: window, length: 10s, late: 5s, raw: drop}\n"},
};

const char *world_rules_name(enum world_rules rules)
{
    return sets[rules].name;
}

/* rules_load reads files: this one is in memory only. */
static enum err load(const char *text, struct rules **ret_rules)
{
    int fd = memfd_create("rules", 0);
    size_t len = strlen(text);
    enum err err = fd >= 0 && write(fd, text, len) == (ssize_t)len ? OK : ERR_IO;
    if (err == OK) {
        char path[40];
        BUFFER(problems, 4096);
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        err = rules_load(path, ret_rules, &problems);
        if (err != OK) {
            fprintf(stderr, "%.*s\n", (int)problems.len, (const char *)problems.ptr);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return err;
}

enum err curated_rules(struct world *w, enum world_rules rules, const struct rules **ret_rules)
{
    if (w->rules[rules] == NULL) {
        BUFFER(problems, 4096);
        TRY(rules == WORLD_RULES_NONE ? rules_load(NULL, &w->rules[rules], &problems)
                                      : load(sets[rules].text, &w->rules[rules]));
    }
    *ret_rules = w->rules[rules];
    return OK;
}

void curated_free(struct world *w)
{
    for (int i = 0; i < WORLD_RULES_COUNT; i++) {
        rules_free(take(w->rules[i]));
    }
}

/* ---- rules of a living gateway ---- */
enum { STEPS_MAX = 100000 };

enum err world_set_rules(struct world *w, const char *name, enum world_rules rules)
{
    struct node *n = world_node(w, name);
    const struct rules *set = NULL;
    if (n == NULL || n->kind != NODE_GATEWAY) {
        return ERR_NOT_FOUND;
    }
    n->rules_begun = n->rules_begun || (n->rules == WORLD_RULES_NONE && rules != WORLD_RULES_NONE);
    n->rules = rules;
    TRY(curated_rules(w, rules, &set));
    for (unsigned i = 0; i < STEPS_MAX && n->gateway != NULL && !w->stuck; i++) {
        enum err err = gateway_set_rules(n->gateway, set);
        if (err != ERR_AGAIN) {
            return err == ERR_UNSUPPORTED ? OK : err;
        }
        world_step(w, 1, INT64_MAX);
    }
    return OK;
}

bool world_close_windows(struct world *w, int64_t limit_us)
{
    const struct world_options *o = &w->options;
    bool any = false;
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        if (n->gateway != NULL && gateway_filter(n->gateway) != NULL) {
            any = true;
            if (world_set_rules(w, n->name, WORLD_RULES_NONE) != OK) {
                return false;
            }
        }
    }
    if (!any) {
        return true;
    }
    if (world_crash(w, "device-*") != OK || world_start(w, "device-*") != OK) {
        return false;
    }
    world_run(w, world_now_us(w) + 3 * o->period_us * (int64_t)o->samples + 5 * SECOND_US);
    w->windows_closed = world_settle(w, limit_us);
    return w->windows_closed;
}

/* ---- planted ---- */
struct last {
    uint8_t key[STORE_KEY_MAX];
    size_t len;
    uint8_t lane;
};

static void find_last(void *arg, struct slice key, struct slice value)
{
    struct last *last = arg;
    (void)value;
    if (key.len == 17 && key.ptr[0] == last->lane) { /* core/spool: lane u8 | epoch u64be | last u64be */
        memcpy(last->key, key.ptr, key.len);
        last->len = key.len;
    }
}

void curated_lose_last(struct node *n)
{
    for (uint8_t lane = WORLD_LANES; lane < 2 * WORLD_LANES; lane++) {
        struct last last = {.lane = lane};
        store_disk_foreach(n->disk, GATEWAY_TABLE_SPOOL, find_last, &last);
        if (last.len > 0) {
            store_disk_erase(n->disk, GATEWAY_TABLE_SPOOL, slice_of(last.key, last.len));
        }
    }
}

/* ---- values ---- */
enum { RECORD_BLOCK = 10, BLOCK_WALL_US = 2, BLOCK_SAMPLES = 4 };

/* The field's bytes or number; false when there is none. */
static bool field(struct slice in, uint64_t wanted, struct slice *ret_bytes, uint64_t *ret_number)
{
    struct cursor c = cursor_of(in);
    while (!c.failed && cursor_left(&c) > 0) {
        uint64_t tag = cursor_varint(&c), number = 0;
        struct slice bytes = {0};
        switch (tag & 7) {
        case 0: number = cursor_varint(&c); break;
        case 1: (void)cursor_bytes(&c, 8); break;
        case 2: bytes = cursor_bytes(&c, cursor_varint(&c)); break;
        case 5: (void)cursor_bytes(&c, 4); break;
        default: return false;
        }
        if (tag >> 3 == wanted && !c.failed) {
            *ret_bytes = bytes;
            *ret_number = number;
            return true;
        }
    }
    return false;
}

unsigned curated_samples(struct slice record, uint64_t *ret_wall_us)
{
    struct slice block, unused;
    uint64_t samples = 0;
    *ret_wall_us = 0;
    if (!field(record, RECORD_BLOCK, &block, &samples) || !field(block, BLOCK_SAMPLES, &unused, &samples)) {
        return 0;
    }
    (void)field(block, BLOCK_WALL_US, &unused, ret_wall_us);
    return (unsigned)samples;
}

void curated_seen(struct curated_account *a, unsigned channels, unsigned samples)
{
    for (unsigned c = 1; c < channels && c < CURATED_CHANNELS; c++) {
        a->open[c] += samples;
    }
}

void curated_shown(struct curated_account *a, const int64_t *values, size_t channels, size_t samples)
{
    for (size_t c = 1; c < channels && c < CURATED_CHANNELS; c++) {
        for (size_t i = 0; i < samples; i++) {
            a->open[c] -= values[c * samples + i] != BLOCK_MISSING;
        }
    }
}

void curated_windows(struct curated_account *a, const Weir__V1__Curated *curated)
{
    for (size_t i = 0; i < curated->n_window; i++) {
        const Weir__V1__Window *w = curated->window[i];
        if (w->channel < CURATED_CHANNELS) {
            a->open[w->channel] -= (int64_t)(w->count + w->late);
        }
    }
}

bool curated_is_part(const int64_t *values, size_t channels, size_t samples, const char *device, uint64_t epoch,
                     uint64_t number, unsigned rows)
{
    unsigned row = 0;
    for (size_t i = 0; i < samples; i++) {
        for (bool same = false; !same; row++) {
            if (row == rows) {
                return false;
            }
            same = true;
            for (size_t c = 0; c < channels && same; c++) {
                int64_t value = values[c * samples + i];
                same = value == BLOCK_MISSING || value == sense_pattern(device, epoch, number, row, (unsigned)c);
            }
        }
    }
    return true;
}
