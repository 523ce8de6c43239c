/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: prove I1-I5 and I8 of docs/architecture.md from the stores and the sink of real programs, dead or alive.
 *
 *   weir-check --device NAME=DIR ... --gateway DIR --bridge DIR --sink FILE [--key FILE] [--final]
 *
 * Read in this order, so that marks can only have grown towards the source meanwhile: sink, devices' trims, gateway's
 * marks, devices' tops. For every stream (device, epoch):
 *   order       trimmed <= gateway's hwm <= durable, and the same between gateway and bridge
 *   phantom     sink's hwm > durable, or a stream of a listed device that the device itself does not have
 *   lost        numbers 1..sink's hwm that no record, gap or suppressed range covers
 *   duplicated  numbers covered twice                        reordered   records that arrived below an earlier one
 *   corrupt     readings that are not sense_pattern() of their place, or records with a part of their readings
 *   undeclared  gaps that the sink itself had to find (jumps)
 * With --final: everything durable is in the sink (else lost).
 * Closing line: durable= readings= records= lost= duplicated= reordered= corrupt= phantom= gaps= undeclared_gaps=
 * suppressed= order_broken= streams=; exit 1 when lost, duplicated, reordered, corrupt, phantom, undeclared_gaps or
 * order_broken is not 0.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <uthash.h>

#include "core/crypt/crypt.h"
#include "core/inbox/inbox.h"
#include "core/log/log.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "core/window/window.h"
#include "device/report/report.h"
#include "device/sense/sense.h"
#include "gateway/gatewayd/gatewayd.h"

enum { DEVICES_MAX = 1000, LANES = 2 };

struct stream {
    char key[ID_MAX + 24];
    char device[ID_MAX + 1];
    uint64_t epoch, sink_hwm, trimmed, gateway_hwm, durable;
    bool at_device, at_gateway, in_sink, gateway_closed;
    UT_hash_handle hh;
};
static struct stream *streams;
/* The gateway's own streams towards the bridge, one a lane. */
static struct {
    uint64_t epoch, trimmed, hwm, durable;
} hops[LANES];
static struct {
    uint64_t durable, readings, records, lost, duplicated, reordered, corrupt, phantom, gaps, undeclared, suppressed, order;
} n;

static struct stream *stream_of(const char *device, uint64_t epoch)
{
    char key[ID_MAX + 24];
    snprintf(key, sizeof(key), "%s/%016" PRIx64, device, epoch);
    struct stream *s = NULL;
    HASH_FIND_STR(streams, key, s);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            abort();
        }
        memcpy(s->key, key, sizeof(key));
        snprintf(s->device, sizeof(s->device), "%s", device);
        s->epoch = epoch;
        HASH_ADD_STR(streams, key, s);
    }
    return s;
}

static bool exists(const char *dir)
{
    char path[4200];
    struct stat st;
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return stat(path, &st) == 0;
}

/* ---- the sink ---- */

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "weir-check: %s: %s\n", sql, sqlite3_errmsg(db));
        exit(2);
    }
    return stmt;
}

/* The records of one stream in the order of their arrival. Records are few against readings: all in one pass. */
static void check_records(sqlite3 *db, struct stream *s, int64_t id)
{
    sqlite3_stmt *q = prepare(db, "select r.first, r.last, r.kind, r.readings, (select count(*) from reading x where"
                                  " x.device = r.device and x.ts between r.ts and r.ts_end and x.stream = r.stream"
                                  " and x.number = r.first) from record r where r.stream = ? order by r.id");
    sqlite3_bind_int64(q, 1, id);
    uint64_t reached = 0;
    while (sqlite3_step(q) == SQLITE_ROW) {
        uint64_t first = (uint64_t)sqlite3_column_int64(q, 0), last = (uint64_t)sqlite3_column_int64(q, 1);
        int64_t claimed = sqlite3_column_int64(q, 3), present = sqlite3_column_int64(q, 4);
        n.records++;
        if (claimed != present) {
            n.corrupt++;
            fprintf(stderr, "%s: record %" PRIu64 " has %lld of %lld readings\n", s->key, first, (long long)present,
                    (long long)claimed);
        }
        if (first > reached + 1) {
            n.lost += first - reached - 1;
            fprintf(stderr, "%s: numbers %" PRIu64 "..%" PRIu64 " are missing\n", s->key, reached + 1, first - 1);
        } else if (first <= reached) {
            uint64_t twice = min_u64(reached, last) - first + 1;
            n.duplicated += twice;
            n.reordered += last < reached;
            fprintf(stderr, "%s: numbers %" PRIu64 "..%" PRIu64 " came after %" PRIu64 "\n", s->key, first, last, reached);
        }
        reached = max_u64(reached, last);
    }
    sqlite3_finalize(q);
    if (reached < s->sink_hwm) {
        n.lost += s->sink_hwm - reached;
        fprintf(stderr, "%s: the mark says %" PRIu64 ", records end at %" PRIu64 "\n", s->key, s->sink_hwm, reached);
    }
}

static void check_readings(sqlite3 *db, struct stream *s, int64_t id)
{
    sqlite3_stmt *q = prepare(db, "select number, idx, channel, value from reading where device ="
                                  " (select device from stream where id = ?1) and stream = ?1");
    sqlite3_bind_int64(q, 1, id);
    while (sqlite3_step(q) == SQLITE_ROW) {
        uint64_t number = (uint64_t)sqlite3_column_int64(q, 0);
        unsigned index = (unsigned)sqlite3_column_int(q, 1), channel = (unsigned)sqlite3_column_int(q, 2);
        double want = (double)sense_pattern(s->device, s->epoch, number, index, channel);
        n.readings++;
        if (sqlite3_column_double(q, 3) != want) {
            n.corrupt++;
            fprintf(stderr, "%s: record %" PRIu64 " sample %u channel %u is %g, expected %g\n", s->key, number, index, channel,
                    sqlite3_column_double(q, 3), want);
        }
    }
    sqlite3_finalize(q);
}

static void check_sink(const char *path, bool patterns)
{
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
        sqlite3_close(db); /* nothing delivered yet */
        return;
    }
    sqlite3_busy_timeout(db, 10000);
    sqlite3_exec(db, "begin", NULL, NULL, NULL); /* one snapshot for all that follows */
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(db, "select s.id, d.name, s.epoch, s.hwm, s.gaps, s.suppressed from stream s join device d on"
                               " d.id = s.device where s.hop = 0", -1, &q, NULL) != SQLITE_OK) {
        sqlite3_close(db); /* no tables yet */
        return;
    }
    while (sqlite3_step(q) == SQLITE_ROW) {
        struct stream *s = stream_of((const char *)sqlite3_column_text(q, 1),
                                     strtoull((const char *)sqlite3_column_text(q, 2), NULL, 16));
        s->in_sink = true;
        s->sink_hwm = (uint64_t)sqlite3_column_int64(q, 3);
        n.gaps += (uint64_t)sqlite3_column_int64(q, 4);
        n.suppressed += (uint64_t)sqlite3_column_int64(q, 5);
        check_records(db, s, sqlite3_column_int64(q, 0));
        if (patterns) {
            check_readings(db, s, sqlite3_column_int64(q, 0));
        }
    }
    sqlite3_finalize(q);
    q = prepare(db, "select coalesce(sum(last - first + 1), 0) from gaps where reason = 'upstream-lost' and not hop");
    n.undeclared = sqlite3_step(q) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    sqlite3_close(db);
}

/* ---- the stores ---- */

static struct store *open_store(struct loop *loop, const char *path, const char *const *tables, unsigned count)
{
    struct store *store = NULL;
    struct fault fault = {0};
    struct store_options options = {.path = path, .tables = tables, .table_count = count, .size_bytes = 1 << 20, .read_only = true};
    if (exists(path) && store_open(loop, &options, &store, NULL, 0, &fault) != OK) {
        fprintf(stderr, "weir-check: %s\n", fault.text);
    }
    return store;
}

enum part { TRIMMED, DURABLE };
static struct crypt_aead *aead; /* one key for all stores, or NULL */

static void read_device(struct loop *loop, const char *name, const char *path, enum part part)
{
    struct store *store = open_store(loop, path, REPORT_TABLES, REPORT_TABLE_COUNT);
    for (uint8_t lane = 0; store != NULL && lane < LANES; lane++) {
        struct spool_options options = {.table = REPORT_TABLE_SPOOL, .meta_table = REPORT_TABLE_META, .lane = lane, .aead = aead};
        CLEANUP(spool_freep) struct spool *spool = NULL;
        struct fault fault = {0};
        if (spool_open(loop, store, &options, &spool, &fault) != OK) {
            fprintf(stderr, "weir-check: %s lane %u: %s\n", name, lane, fault.text);
            n.order++;
        } else if (spool_epoch(spool) != 0) {
            struct stream *s = stream_of(name, spool_epoch(spool));
            s->at_device = true;
            if (part == TRIMMED) {
                s->trimmed = spool_trimmed(spool);
            } else {
                s->durable = spool_durable(spool);
                n.durable += s->durable;
            }
        }
    }
    store_close(store);
}

static void read_hops(struct loop *loop, const char *path, enum part part)
{
    struct store *store = open_store(loop, path, GATEWAY_TABLES, GATEWAY_TABLE_COUNT);
    for (uint8_t lane = 0; store != NULL && lane < LANES; lane++) {
        struct spool_options options = {.table = GATEWAY_TABLE_SPOOL, .meta_table = GATEWAY_TABLE_META, .lane = lane, .aead = aead};
        CLEANUP(spool_freep) struct spool *spool = NULL;
        struct fault fault = {0};
        if (spool_open(loop, store, &options, &spool, &fault) != OK) {
            fprintf(stderr, "weir-check: gateway lane %u: %s\n", lane, fault.text);
            n.order++;
        } else if (part == TRIMMED) {
            hops[lane].epoch = spool_epoch(spool);
            hops[lane].trimmed = spool_trimmed(spool);
        } else if (hops[lane].epoch == spool_epoch(spool)) {
            hops[lane].durable = spool_durable(spool);
        } else {
            hops[lane].epoch = 0; /* a new epoch was begun meanwhile */
        }
    }
    store_close(store);
}

static bool on_hop(void *arg, struct slice key, struct slice value)
{
    (void)arg;
    struct window_stream w;
    char name[ID_MAX + 1];
    uint64_t epoch = 0;
    if (inbox_record_parse(key, value, name, &epoch, &w) != OK) {
        fprintf(stderr, "weir-check: a stream's record at the bridge is damaged\n");
        n.order++;
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (epoch != 0 && hops[lane].epoch == epoch) {
            hops[lane].hwm = w.hwm;
        }
    }
    return true;
}

static bool on_stream(void *arg, struct slice key, struct slice value)
{
    (void)arg;
    struct window_stream w;
    char name[ID_MAX + 1];
    uint64_t epoch = 0;
    if (inbox_record_parse(key, value, name, &epoch, &w) == OK) {
        struct stream *s = stream_of(name, epoch);
        s->at_gateway = true;
        s->gateway_hwm = w.hwm;
        s->gateway_closed = w.closed;
    } else {
        fprintf(stderr, "weir-check: a stream's record at the gateway is damaged\n");
        n.order++;
    }
    return true;
}

/* Gateway and bridge keep their tables in the same order. */
static void read_streams(struct loop *loop, const char *path, bool (*fn)(void *arg, struct slice key, struct slice value))
{
    struct store *store = open_store(loop, path, GATEWAY_TABLES, GATEWAY_TABLE_COUNT);
    if (store != NULL) {
        uint8_t first = 0;
        if (store_foreach(store, GATEWAY_TABLE_STREAMS, slice_of(&first, 1), slice_of(NULL, 0), fn, NULL) != OK) {
            fprintf(stderr, "weir-check: the streams in %s cannot be read\n", path);
            n.order++;
        }
    }
    store_close(store);
}

static const char *device_args[DEVICES_MAX];
static size_t device_count;

static bool is_device(const char *name)
{
    for (size_t i = 0; i < device_count; i++) {
        if (strncmp(device_args[i], name, strlen(name)) == 0 && device_args[i][strlen(name)] == '=') {
            return true;
        }
    }
    return false;
}

static void compare(bool final)
{
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (hops[lane].epoch != 0 && (hops[lane].trimmed > hops[lane].hwm || hops[lane].hwm > hops[lane].durable)) {
            n.order++;
            fprintf(stderr, "gateway lane %u: trimmed %" PRIu64 ", bridge %" PRIu64 ", durable %" PRIu64 " are out of order\n", lane,
                    hops[lane].trimmed, hops[lane].hwm, hops[lane].durable);
        }
    }
    struct stream *s, *next;
    HASH_ITER(hh, streams, s, next)
    {
        if (!s->at_device) {
            if (s->in_sink && is_device(s->device)) {
                n.phantom += s->sink_hwm; /* a disk that was put back */
                fprintf(stderr, "%s: in the sink, but its device knows nothing of it\n", s->key);
            }
            continue;
        }
        if (s->trimmed > s->gateway_hwm || (s->at_gateway && s->gateway_hwm > s->durable)) {
            n.order++;
            fprintf(stderr, "%s: trimmed %" PRIu64 ", gateway %" PRIu64 ", durable %" PRIu64 " are out of order\n", s->key,
                    s->trimmed, s->gateway_hwm, s->durable);
        }
        if (s->sink_hwm > s->durable) {
            n.phantom += s->sink_hwm - s->durable;
            fprintf(stderr, "%s: the sink has %" PRIu64 ", durable at the device %" PRIu64 "\n", s->key, s->sink_hwm, s->durable);
        }
        if (final && s->sink_hwm < s->durable) {
            n.lost += s->durable - s->sink_hwm;
            fprintf(stderr, "%s: durable %" PRIu64 ", in the sink %" PRIu64 "\n", s->key, s->durable, s->sink_hwm);
        }
    }
}

int main(int argc, char **argv)
{
    const char *gateway = NULL, *bridge = NULL, *sink = NULL, *key = NULL;
    bool final = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--final") == 0) {
            final = true;
            continue;
        }
        const char **slot = strcmp(argv[i], "--gateway") == 0  ? &gateway
                            : strcmp(argv[i], "--bridge") == 0 ? &bridge
                            : strcmp(argv[i], "--sink") == 0   ? &sink
                            : strcmp(argv[i], "--key") == 0    ? &key
                            : strcmp(argv[i], "--device") == 0 && device_count < DEVICES_MAX ? &device_args[device_count++]
                                                                                        : NULL;
        if (slot == NULL || i + 1 >= argc) {
            fprintf(stderr, "weir-check: %s is not understood\n", argv[i]);
            return 2;
        }
        *slot = value;
        i++;
    }
    log_setup("weir-check", LOG_ERROR);
    struct loop *loop = NULL;
    struct fault fault = {0};
    if (key != NULL && crypt_aead_load(key, &aead, &fault) != OK) {
        fprintf(stderr, "weir-check: %s\n", fault.text);
        return 2;
    }
    if (sink == NULL || gateway == NULL || bridge == NULL || loop_new(&loop) != OK) {
        return 2;
    }
    check_sink(sink, true);
    read_hops(loop, gateway, TRIMMED);
    read_streams(loop, bridge, on_hop);
    read_hops(loop, gateway, DURABLE);
    for (enum part part = TRIMMED; part <= DURABLE; part++) {
        for (size_t i = 0; i < device_count; i++) {
            char name[ID_MAX + 1];
            const char *equals = strchr(device_args[i], '=');
            if (equals == NULL || (size_t)(equals - device_args[i]) >= sizeof(name)) {
                return 2;
            }
            snprintf(name, sizeof(name), "%.*s", (int)(equals - device_args[i]), device_args[i]);
            read_device(loop, name, equals + 1, part);
        }
        if (part == TRIMMED) {
            read_streams(loop, gateway, on_stream);
        }
    }
    compare(final);
    printf("durable=%" PRIu64 " readings=%" PRIu64 " records=%" PRIu64 " lost=%" PRIu64 " duplicated=%" PRIu64
           " reordered=%" PRIu64 " corrupt=%" PRIu64 " phantom=%" PRIu64 " gaps=%" PRIu64 " undeclared_gaps=%" PRIu64
           " suppressed=%" PRIu64 " order_broken=%" PRIu64 " streams=%u\n",
           n.durable, n.readings, n.records, n.lost, n.duplicated, n.reordered, n.corrupt, n.phantom, n.gaps, n.undeclared,
           n.suppressed, n.order, HASH_COUNT(streams));
    struct stream *s, *next;
    HASH_ITER(hh, streams, s, next)
    {
        HASH_DEL(streams, s);
        free(s);
    }
    loop_free(loop);
    crypt_aead_free(aead);
    return n.lost + n.duplicated + n.reordered + n.corrupt + n.phantom + n.undeclared + n.order > 0 ? 1 : 0;
}
