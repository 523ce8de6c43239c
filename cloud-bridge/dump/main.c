/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-dump - what a store holds, as JSON lines: of a device, a gateway or the bridge, running or not. Nothing is changed;
 * the store's lock is not taken (LMDB's table of readers is, while it reads).
 *
 *   weir-dump [--key FILE] [--entries] DIR
 *
 * First a line per lane (epoch, trimmed, durable, bytes), then one per stream that is received (sender, epoch, hwm, top,
 * closed), with --entries one per entry: numbers, kind, size, or "damaged". Exit 1 when something is damaged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/base/json.h"
#include "core/crypt/crypt.h"
#include "core/inbox/inbox.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "core/window/window.h"
#include "proto/wire/wire.h"

enum { TABLE_SPOOL, TABLE_META, TABLE_STREAMS, LANES = 2 };

struct dump {
    struct store *store;
    struct crypt_aead *aead;
    bool entries;
    uint8_t lane;
    uint64_t damaged;
    struct arena arena;
};

static void print_line(struct buffer *line)
{
    buffer_put_u8(line, '\n');
    fwrite(line->ptr, 1, line->len, stdout);
}

static const char usage[] = "usage: weir-dump [--key FILE] [--entries] DIR     DIR: the folder of a store (store.path)\n";

static const char *record_kind(struct dump *d, struct slice record)
{
    Weir__V1__Record *r = NULL;
    arena_reset(&d->arena);
    if (wire_record_unpack(record, &d->arena, &r) != OK) {
        return "unread";
    }
    switch (r->kind_case) {
    case WEIR__V1__RECORD__KIND_BLOCK: return "block";
    case WEIR__V1__RECORD__KIND_EVENT: return "event";
    case WEIR__V1__RECORD__KIND_HEALTH: return "health";
    case WEIR__V1__RECORD__KIND_GAP: return "gap";
    case WEIR__V1__RECORD__KIND_SUPPRESSED: return "suppressed";
    case WEIR__V1__RECORD__KIND_DESCRIBE: return "describe";
    case WEIR__V1__RECORD__KIND_CURATED: return "curated";
    case WEIR__V1__RECORD__KIND_INFERENCE: return "inference";
    case WEIR__V1__RECORD__KIND__NOT_SET:
    case _WEIR__V1__RECORD__KIND__CASE_IS_INT_SIZE: break;
    }
    return "unread";
}

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct dump *d = arg;
    BUFFER(line, 4096);
    struct json j;
    json_init(&j, &line);
    json_object(&j, NULL);
    json_u64(&j, "lane", d->lane);
    json_u64(&j, "first", entry->first);
    json_u64(&j, "last", entry->last);
    json_u64(&j, "bytes", entry->body.len);
    struct wire_forward forward;
    if (entry->damaged) {
        d->damaged++;
        json_bool(&j, "damaged", true);
    } else if (wire_forward_decode(entry->body, &forward) == OK) {
        json_str(&j, "device", forward.device);
        json_hex(&j, "epoch", forward.epoch);
        json_u64(&j, "device_first", forward.first);
        json_u64(&j, "device_last", forward.last);
        json_str(&j, "kind", record_kind(d, forward.record));
    } else {
        json_str(&j, "kind", record_kind(d, entry->body));
    }
    json_object_end(&j);
    print_line(&line);
    return true;
}

static enum err dump_lane(struct loop *loop, struct dump *d)
{
    struct spool_options options = {.table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = d->lane, .aead = d->aead};
    CLEANUP(spool_freep) struct spool *spool = NULL;
    struct fault fault = {0};
    enum err err = spool_open(loop, d->store, &options, &spool, &fault);
    if (err != OK) {
        fprintf(stderr, "weir-dump: lane %u: %s\n", d->lane, fault.text[0] ? fault.text : err_name(err));
        return err;
    }
    if (spool_epoch(spool) == 0) {
        return OK;
    }
    BUFFER(line, 4096);
    struct json j;
    json_init(&j, &line);
    json_object(&j, NULL);
    json_u64(&j, "lane", d->lane);
    json_hex(&j, "epoch", spool_epoch(spool));
    json_u64(&j, "trimmed", spool_trimmed(spool));
    json_u64(&j, "durable", spool_durable(spool));
    json_u64(&j, "bytes", spool_bytes(spool));
    json_object_end(&j);
    print_line(&line);
    return d->entries ? spool_read(spool, spool_trimmed(spool) + 1, on_entry, d) : OK;
}

static bool on_stream(void *arg, struct slice key, struct slice value)
{
    struct dump *d = arg;
    char sender[ID_MAX + 1];
    uint64_t epoch = 0;
    struct window_stream s = {0};
    bool sound = inbox_record_parse(key, value, sender, &epoch, &s) == OK;
    d->damaged += !sound;
    BUFFER(line, 4096);
    struct json j;
    json_init(&j, &line);
    json_object(&j, NULL);
    if (!sound) {
        json_slice(&j, "key", key);
    } else {
        json_str(&j, "sender", sender);
        json_hex(&j, "epoch", epoch);
    }
    if (sound) {
        json_u64(&j, "lane", s.lane);
        json_u64(&j, "hwm", s.hwm);
        json_u64(&j, "top", s.top);
        json_u64(&j, "gaps", s.gaps);
        json_u64(&j, "suppressed", s.suppressed);
        json_bool(&j, "closed", s.closed);
    } else {
        json_bool(&j, "damaged", true);
    }
    json_object_end(&j);
    print_line(&line);
    return true;
}

/* A device's store has no streams: the table is tried and done without. */
static enum err open_any(struct loop *loop, const char *path, struct store **ret_store, bool *ret_streams,
                         struct fault *reterr)
{
    static const char *const tables[] = {"spool", "meta", "streams"};
    struct store_options options = {
        .path = path, .tables = tables, .table_count = 3, .size_bytes = 1 << 20, .read_only = true};
    enum err err = store_open(loop, &options, ret_store, NULL, 0, reterr);
    *ret_streams = err == OK;
    if (err == ERR_CONFLICT) {
        options.table_count = 2;
        err = store_open(loop, &options, ret_store, NULL, 0, reterr);
    }
    return err;
}

int main(int argc, char **argv)
{
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    struct dump d = {0};
    const char *path = NULL;
    struct fault fault = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--entries") == 0) {
            d.entries = true;
        } else if (strcmp(argv[i], "--key") == 0 && i + 1 < argc) {
            if (crypt_aead_load(argv[++i], &aead, &fault) != OK) {
                fprintf(stderr, "weir-dump: %s\n", fault.text);
                return 2;
            }
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (argv[i][0] != '-' && path == NULL) {
            path = argv[i];
        } else {
            path = NULL;
            break;
        }
    }
    if (path == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    log_setup("weir-dump", LOG_ERROR);
    d.aead = aead;
    CLEANUP(loop_freep) struct loop *loop = NULL;
    bool streams = false;
    if (loop_new(&loop) != OK || arena_init(&d.arena, WIRE_ARENA_BYTES) != OK) {
        fprintf(stderr, "weir-dump: out of memory\n");
        return 1;
    }
    enum err err = open_any(loop, path, &d.store, &streams, &fault);
    if (err != OK) {
        fprintf(stderr, "weir-dump: %s\n", fault.text);
        arena_deinit(&d.arena);
        return err == ERR_NOT_FOUND ? 3 : 1;
    }
    for (; d.lane < LANES && err == OK; d.lane++) {
        err = dump_lane(loop, &d);
    }
    if (streams && err == OK) {
        const uint8_t lowest = 0;
        err = store_foreach(d.store, TABLE_STREAMS, slice_of(&lowest, 1), slice_of(NULL, 0), on_stream, &d);
    }
    store_close(d.store);
    arena_deinit(&d.arena);
    if (d.damaged > 0) {
        fprintf(stderr, "weir-dump: %" PRIu64 " damaged\n", d.damaged);
    }
    return err != OK || d.damaged > 0;
}
