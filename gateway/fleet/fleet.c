/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One hash table by identity and one list by last sign of life: the silent ones stand at its head, so going offline
 * and being forgotten cost nothing per frame.
 */
#include "gateway/fleet/fleet.h"

#include <stdio.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>
#include <utlist.h>

#include "core/base/json.h"
#include "core/log/log.h"

struct device {
    char id[ID_MAX + 1];
    bool online, lost; /* lost: no memory for its table entry */
    int64_t seen_us;   /* 0 = not since the start */
    int64_t debt_until_us; /* token bucket as one number: when all frames taken so far are paid for */
    unsigned streams;
    uint64_t frames, records, refused, bytes;
    struct device *prev, *next;
    UT_hash_handle hh;
};
struct fleet {
    struct loop *loop;
    struct fleet_options options;
    struct device *table;
    struct device *by_silence; /* head = silent longest */
    struct device *recent;     /* the last one looked up: frames come in runs */
    size_t online;
    void (*on_presence)(void *arg, const char *id, bool online); /* NULL: nobody asks */
    void *presence_arg;
};

enum err fleet_new(struct loop *loop, const struct fleet_options *options, struct fleet **ret_fleet)
{
    struct fleet *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->loop = loop;
    fleet_set_options(f, options);
    *ret_fleet = f;
    return OK;
}

static void tell(struct fleet *f, struct device *d, bool online)
{
    d->online = online;
    if (online) {
        f->online++;
    } else {
        f->online--;
    }
    if (f->on_presence != NULL) {
        f->on_presence(f->presence_arg, d->id, online);
    }
}

static void forget(struct fleet *f, struct device *d)
{
    if (f->recent == d) {
        f->recent = NULL;
    }
    if (d->online) {
        tell(f, d, false);
    }
    DL_DELETE(f->by_silence, d);
    HASH_DEL(f->table, d);
    free(d);
}

void fleet_free(struct fleet *f)
{
    if (f == NULL) {
        return;
    }
    f->on_presence = NULL;
    for (struct device *d = f->by_silence, *next; d != NULL; d = next) {
        next = d->next;
        forget(f, d);
    }
    free(f);
}

void fleet_set_options(struct fleet *f, const struct fleet_options *options)
{
    f->options = *options;
    if (f->options.offline_after_us <= 0) {
        f->options.offline_after_us = 60 * SECOND_US;
    }
}

void fleet_on_presence(struct fleet *f, void (*fn)(void *arg, const char *id, bool online), void *arg)
{
    f->on_presence = fn;
    f->presence_arg = arg;
}

static struct device *find(struct fleet *f, const char *id)
{
    if (f->recent != NULL && strcmp(f->recent->id, id) == 0) {
        return f->recent;
    }
    struct device *d = NULL;
    HASH_FIND_STR(f->table, id, d);
    if (d != NULL) {
        f->recent = d;
    }
    return d;
}

static struct device *add(struct fleet *f, const char *id)
{
    if (HASH_COUNT(f->table) >= FLEET_DEVICES_MAX) {
        forget(f, f->by_silence);
    }
    struct device *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return NULL;
    }
    snprintf(d->id, sizeof(d->id), "%s", id);
    HASH_ADD_STR(f->table, id, d);
    if (d->lost) {
        free(d);
        return NULL;
    }
    DL_APPEND(f->by_silence, d);
    return d;
}

void fleet_known_stream(struct fleet *f, const char *id)
{
    struct device *d = find(f, id);
    if (d == NULL) {
        d = add(f, id);
    }
    if (d != NULL) {
        d->streams++;
    }
}

void fleet_forget_streams(struct fleet *f)
{
    for (struct device *d = f->by_silence; d != NULL; d = d->next) {
        d->streams = 0;
    }
}

/* Those at the head that have been silent too long are offline. */
static void expire(struct fleet *f, int64_t now_us)
{
    for (struct device *d = f->by_silence; d != NULL; d = d->next) {
        if (d->seen_us + f->options.offline_after_us > now_us) {
            break;
        }
        if (d->online) {
            tell(f, d, false);
            log_info("offline", KV_STR("device", d->id),
                     KV_I64("silent_s", (now_us - d->seen_us) / SECOND_US));
        }
    }
}

bool fleet_admit(struct fleet *f, const char *id, size_t bytes)
{
    struct device *d = find(f, id);
    if (d == NULL) {
        d = add(f, id);
    }
    if (d == NULL) {
        return true;
    }
    int64_t now = loop_now_us(f->loop);
    d->seen_us = now;
    d->bytes += bytes;
    if (!d->online) {
        tell(f, d, true);
        log_info("online", KV_STR("device", id));
    }
    if (d->next != NULL) { /* not the newest already */
        DL_DELETE(f->by_silence, d);
        DL_APPEND(f->by_silence, d);
    }
    if (f->options.frames_per_s == 0) {
        return true;
    }
    int64_t debt = max_i64(d->debt_until_us, now) + SECOND_US / f->options.frames_per_s;
    if (debt > now + SECOND_US) {
        return false;
    }
    d->debt_until_us = debt;
    return true;
}

void fleet_count_frame(struct fleet *f, const char *id, size_t records)
{
    struct device *d = find(f, id);
    if (d != NULL) {
        d->frames++;
        d->records += records;
    }
}

void fleet_count_refused(struct fleet *f, const char *id)
{
    struct device *d = find(f, id);
    if (d != NULL) {
        d->refused++;
    }
}

size_t fleet_devices(const struct fleet *f)
{
    return HASH_COUNT(f->table);
}

size_t fleet_online(struct fleet *f)
{
    expire(f, loop_now_us(f->loop));
    return f->online;
}

void fleet_json(struct fleet *f, struct buffer *out)
{
    int64_t now = loop_now_us(f->loop);
    struct json j;
    expire(f, now);
    json_init(&j, out);
    json_object(&j, NULL);
    json_array(&j, "devices");
    for (struct device *d = f->table, *next; d != NULL; d = next) {
        next = d->hh.next;
        json_object(&j, NULL);
        json_str(&j, "device", d->id);
        json_bool(&j, "online", d->online);
        if (d->seen_us == 0) {
            json_str(&j, "last_seen_s", NULL);
        } else {
            json_f64(&j, "last_seen_s", (double)((now - d->seen_us) / MS_US) / 1000.0);
        }
        json_u64(&j, "epochs", d->streams);
        json_u64(&j, "frames", d->frames);
        json_u64(&j, "records", d->records);
        json_u64(&j, "refused", d->refused);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}
