/* SPDX-License-Identifier: Apache-2.0 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->failed = true)

#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"

_Static_assert(INBOX_LANES == 2, "the mark's text has two lanes");

void nats_mark_write(const struct nats_mark *m, char ret_text[NATS_MARK_BYTES])
{
    snprintf(ret_text, NATS_MARK_BYTES, "%s %016" PRIx64 ":%" PRIu64 " %016" PRIx64 ":%" PRIu64, m->bridge, m->epoch[0],
             m->position[0], m->epoch[1], m->position[1]);
}

enum err nats_mark_read(const char *text, struct nats_mark *m)
{
    int end = -1;
    memset(m, 0, sizeof(*m));
    if (sscanf(text, "%64[A-Za-z0-9_-] %16" SCNx64 ":%19" SCNu64 " %16" SCNx64 ":%19" SCNu64 "%n", m->bridge,
               &m->epoch[0], &m->position[0], &m->epoch[1], &m->position[1], &end) != 5 ||
        end < 0 || text[end] != '\0') {
        return ERR_MALFORMED;
    }
    return OK;
}

void nats_streams_write(const struct nats_device *d, char ret_text[NATS_STREAMS_BYTES])
{
    size_t len = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < d->count; i++) {
        char holes[SINK_HOLES_BYTES];
        sink_holes_write(&d->streams[i].holes, holes);
        len += (size_t)snprintf(ret_text + len, NATS_STREAMS_BYTES - len, "%s%016" PRIx64 ":%u:%" PRIu64 "%s%s",
                                i ? " " : "", d->streams[i].epoch, d->streams[i].lane, d->streams[i].hwm,
                                holes[0] != '\0' ? ":" : "", holes);
    }
}

/* Behind the number: nothing, or ':' and the holes up to the next blank. */
static enum err read_holes(const char **text, struct sink_holes *ret_holes)
{
    char holes[SINK_HOLES_BYTES];
    *ret_holes = (struct sink_holes){.count = 0};
    if (**text != ':') {
        return OK;
    }
    size_t len = strcspn(++*text, " ");
    if (len == 0 || len >= sizeof(holes)) {
        return ERR_MALFORMED;
    }
    memcpy(holes, *text, len);
    holes[len] = '\0';
    *text += len;
    return sink_holes_read(holes, ret_holes);
}

enum err nats_streams_read(const char *text, struct nats_device *d)
{
    d->count = 0;
    while (*text != '\0') {
        struct nats_stream *s = &d->streams[d->count];
        int end = -1;
        if (d->count == NATS_STREAMS ||
            sscanf(text, "%16" SCNx64 ":%1" SCNu8 ":%19" SCNu64 "%n", &s->epoch, &s->lane, &s->hwm, &end) != 3 ||
            end < 0 || strchr(": ", text[end]) == NULL) {
            d->count = 0;
            return ERR_MALFORMED;
        }
        text += end;
        if (read_holes(&text, &s->holes) != OK) {
            d->count = 0;
            return ERR_MALFORMED;
        }
        d->count++;
        text += *text == ' ';
    }
    return OK;
}

void nats_device_mark(const struct nats_device *d, uint64_t epoch, struct sink_mark *ret_mark)
{
    ret_mark->stream.hwm = 0;
    ret_mark->holes.count = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (d->streams[i].epoch == epoch) {
            ret_mark->stream.hwm = d->streams[i].hwm;
            ret_mark->holes = d->streams[i].holes;
        }
    }
}

void nats_device_keep(struct nats_device *d, uint64_t epoch, uint8_t lane, const struct sink_mark *mark)
{
    size_t at = 0;
    while (at < d->count && d->streams[at].epoch != epoch) {
        at++;
    }
    if (at == d->count) {
        d->count += d->count < NATS_STREAMS;
        at = d->count - 1;
    }
    memmove(d->streams + 1, d->streams, at * sizeof(d->streams[0]));
    d->streams[0] =
        (struct nats_stream){.epoch = epoch, .hwm = mark->stream.hwm, .lane = lane, .holes = mark->holes};
}

void nats_devices_clear(struct nats_device **table)
{
    for (struct nats_device *d = *table, *next; d != NULL; d = next) {
        next = d->hh.next;
        HASH_DEL(*table, d);
        free(d);
    }
    *table = NULL;
}

enum err nats_devices_get(struct nats_device **table, const char *name, struct nats_device **ret_device,
                          bool *ret_known)
{
    struct nats_device *d = NULL;
    HASH_FIND_STR(*table, name, d);
    *ret_known = d != NULL;
    if (d == NULL) {
        d = calloc(1, sizeof(*d));
        if (d == NULL) {
            return ERR_NOMEM;
        }
        snprintf(d->name, sizeof(d->name), "%s", name);
        HASH_ADD_STR(*table, name, d);
        if (d->failed) {
            free(d);
            return ERR_NOMEM;
        }
    }
    *ret_device = d;
    return OK;
}

bool nats_subject_covers(const char *pattern, const char *ours)
{
    for (;;) {
        size_t p = strcspn(pattern, "."), o = strcspn(ours, ".");
        if (p == 1 && *pattern == '>') {
            return true;
        }
        if (!(p == 1 && *pattern == '*') && (p != o || memcmp(pattern, ours, p) != 0)) {
            return false;
        }
        if (pattern[p] == '\0' || ours[o] == '\0') {
            return pattern[p] == ours[o];
        }
        pattern += p + 1;
        ours += o + 1;
    }
}
