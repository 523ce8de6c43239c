/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: prove I1-I5 and I8 of docs/architecture.md from the stores and the sink of real programs, dead or alive.
 *
 *   weir-check --device NAME=DIR ... --gateway DIR ... --bridge DIR ... --sink FILE [--key FILE] [--final] [--late]
 *
 * --gateway: the stores of the gateways that the devices send to. --bridge: those of whom these gateways send to, which may be
 * gateways themselves; of several, the one that knows most of a stream counts. A chain is checked hop by hop.
 *
 * Read in this order, so that marks can only have grown towards the source meanwhile: sink, devices' trims, gateway's
 * marks, devices' tops. For every stream (device, epoch):
 *   order       trimmed <= gateway's hwm <= durable, and the same between gateway and bridge
 *   phantom     sink's hwm > durable, or a stream of a listed device that the device itself does not have
 *   lost        numbers 1..sink's hwm that no record, gap or suppressed range covers
 *   duplicated  numbers covered twice                        reordered   records that arrived below an earlier one
 *               (--late: that is allowed, and counted as late: there were two ways up, and the slower one came last)
 *   corrupt     readings that are not sense_pattern() of their place, or records with a part of their readings
 *   undeclared  gaps that the sink itself had to find (jumps)
 * With --final: everything durable is in the sink (else lost).
 * Rules of a gateway: what a rule suppressed has its name; the readings that are left of a shaped record are some of those of
 * its place, in their order; what a capture brought, in a stream of its own, are readings of one of the device's
 * records.
 * Closing line: durable= readings= records= lost= duplicated= reordered= corrupt= phantom= gaps= undeclared_gaps=
 * suppressed= curated= captured= order_broken= late= streams=; exit 1 when lost, duplicated, reordered, corrupt, phantom, undeclared_gaps or
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

enum { DEVICES_MAX = 1000, TIERS_MAX = 16, LANES = 2 };

struct stream {
    char key[ID_MAX + 24];
    char device[ID_MAX + 1];
    uint64_t epoch, sink_hwm, trimmed, gateway_hwm, durable;
    bool at_device, at_gateway, in_sink, gateway_closed, captures;
    int64_t id; /* in the sink */
    uint64_t found; /* captures: the record that the latest was of */
    UT_hash_handle hh;
};
static struct stream *streams;
/* The gateways' own streams towards the bridge, one a lane. With rules the curated spools go up, which stand behind. */
static struct {
    uint64_t epoch, trimmed, hwm, durable;
} hops[TIERS_MAX][LANES];
static struct {
    uint64_t durable, readings, records, lost, duplicated, reordered, corrupt, phantom, gaps, undeclared, suppressed, curated, captured, order, late;
} n;
static bool late_allowed;

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

/* Whether each came above all that had come before. */
static void check_order(sqlite3 *db, const struct stream *s, int64_t id)
{
    sqlite3_stmt *q = prepare(db, "select first from record where stream = ? order by id");
    sqlite3_bind_int64(q, 1, id);
    uint64_t reached = 0;
    while (sqlite3_step(q) == SQLITE_ROW) {
        uint64_t first = (uint64_t)sqlite3_column_int64(q, 0);
        if (first < reached && late_allowed) {
            n.late++;
        } else if (first < reached) {
            n.reordered++;
            fprintf(stderr, "%s: record %" PRIu64 " came after %" PRIu64 "\n", s->key, first, reached);
        }
        reached = max_u64(reached, first);
    }
    sqlite3_finalize(q);
}

/* The records of one stream by number. Records are few against readings: all in one pass. */
static void check_records(sqlite3 *db, struct stream *s, int64_t id)
{
    sqlite3_stmt *q = prepare(db, "select r.first, r.last, r.readings, (select count(*) from reading x where"
                                  " x.device = r.device and x.ts between r.ts and r.ts_end and x.stream = r.stream"
                                  " and x.number = r.first) from record r where r.stream = ? order by r.first");
    sqlite3_bind_int64(q, 1, id);
    uint64_t reached = 0;
    while (sqlite3_step(q) == SQLITE_ROW) {
        uint64_t first = (uint64_t)sqlite3_column_int64(q, 0), last = (uint64_t)sqlite3_column_int64(q, 1);
        int64_t claimed = sqlite3_column_int64(q, 2), present = sqlite3_column_int64(q, 3);
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
            n.duplicated += min_u64(reached, last) - first + 1;
            fprintf(stderr, "%s: numbers %" PRIu64 "..%" PRIu64 " are there twice\n", s->key, first, min_u64(reached, last));
        }
        reached = max_u64(reached, last);
    }
    sqlite3_finalize(q);
    if (reached < s->sink_hwm) {
        n.lost += s->sink_hwm - reached;
        fprintf(stderr, "%s: the mark says %" PRIu64 ", records end at %" PRIu64 "\n", s->key, s->sink_hwm, reached);
    }
    check_order(db, s, id);
}

static void check_readings(sqlite3 *db, struct stream *s, int64_t id)
{
    sqlite3_stmt *q = prepare(db, "select x.number, x.idx, x.channel, x.value from reading x join record r on"
                                  " r.stream = x.stream and r.first = x.number where x.device ="
                                  " (select device from stream where id = ?1) and x.stream = ?1 and r.kind <> 'curated'");
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

enum { SAMPLES_MAX = 1024 };

/* What rules left of a record: each reading is one of its place's, behind the one before. */
static void check_curated(sqlite3 *db, const struct stream *s)
{
    sqlite3_stmt *q = prepare(db, "select x.number, x.channel, x.value from reading x join record r on r.stream = x.stream and"
                                  " r.first = x.number where x.device = (select device from stream where id = ?1) and"
                                  " x.stream = ?1 and r.kind = 'curated' order by x.number, x.channel, x.idx");
    sqlite3_bind_int64(q, 1, s->id);
    uint64_t number = 0;
    unsigned channel = 0, next = 0;
    while (sqlite3_step(q) == SQLITE_ROW) {
        if ((uint64_t)sqlite3_column_int64(q, 0) != number || (unsigned)sqlite3_column_int(q, 1) != channel) {
            number = (uint64_t)sqlite3_column_int64(q, 0);
            channel = (unsigned)sqlite3_column_int(q, 1);
            next = 0;
        }
        double value = sqlite3_column_double(q, 2);
        while (next < SAMPLES_MAX && (double)sense_pattern(s->device, s->epoch, number, next, channel) != value) {
            next++;
        }
        n.readings++;
        if (next++ >= SAMPLES_MAX) {
            n.corrupt++;
            fprintf(stderr, "%s: record %" PRIu64 " channel %u: %g is none of its readings\n", s->key, number, channel, value);
        }
    }
    sqlite3_finalize(q);
}

/* Whether these readings of channel 0, in their order, are of this record. */
static bool is_of(const struct stream *of, uint64_t number, const double *values, size_t count)
{
    enum { NEAR = 64 }; /* where the first may stand */
    unsigned next = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned most = i == 0 ? NEAR : SAMPLES_MAX;
        while (next < most && (double)sense_pattern(of->device, of->epoch, number, next, 0) != values[i]) {
            next++;
        }
        if (next++ >= most) {
            return false;
        }
    }
    return true;
}

/* The device's record that the readings are of. Captures of a device come in the order of its records, nearly. */
static bool find_original(const struct stream *captures, const double *values, size_t count)
{
    struct stream *s, *next;
    HASH_ITER(hh, streams, s, next)
    {
        if (s->captures || !s->in_sink || strcmp(s->device, captures->device) != 0) {
            continue;
        }
        uint64_t top = s->sink_hwm + 2 * SAMPLES_MAX, from = min_u64(s->found + 1, top);
        for (uint64_t i = 0; i < top; i++) {
            uint64_t number = (from + i - 1) % top + 1;
            if (is_of(s, number, values, count)) {
                s->found = number - 1; /* several captures may be of one record */
                return true;
            }
        }
    }
    return false;
}

static void check_captured(sqlite3 *db, const struct stream *s)
{
    static double values[SAMPLES_MAX];
    sqlite3_stmt *q = prepare(db, "select number, value from reading where device = (select device from stream where"
                                  " id = ?1) and stream = ?1 and channel = 0 order by number, idx");
    sqlite3_bind_int64(q, 1, s->id);
    uint64_t number = 0;
    size_t count = 0;
    for (bool more = true; more;) {
        more = sqlite3_step(q) == SQLITE_ROW;
        uint64_t now = more ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
        if (now != number && count > 0 && !find_original(s, values, count)) {
            n.corrupt++;
            fprintf(stderr, "%s: captured %" PRIu64 " is of no record of the device\n", s->key, number);
        }
        n.captured += now != number && count > 0;
        count = now != number ? 0 : count;
        number = now;
        if (more && count < SAMPLES_MAX) {
            values[count++] = sqlite3_column_double(q, 1);
        }
    }
    sqlite3_finalize(q);
}

static uint64_t number_of(sqlite3 *db, const char *sql, int64_t id)
{
    sqlite3_stmt *q = prepare(db, sql);
    sqlite3_bind_int64(q, 1, id);
    uint64_t value = sqlite3_step(q) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return value;
}

/* A gateway's rules make a stream of captures in the alarm lane, of curated records. */
static bool is_of_captures(sqlite3 *db, int64_t id)
{
    return number_of(db, "select count(*) from record r join stream s on s.id = r.stream where s.id = ?1 and s.lane = 0 and"
                         " r.kind = 'curated'", id) > 0;
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
        s->id = sqlite3_column_int64(q, 0);
        s->captures = is_of_captures(db, s->id);
        check_records(db, s, s->id);
        if (patterns && !s->captures) {
            check_readings(db, s, s->id);
            check_curated(db, s);
        }
    }
    sqlite3_finalize(q);
    struct stream *s, *next;
    HASH_ITER(hh, streams, s, next)
    {
        if (s->captures && patterns) {
            check_captured(db, s);
        } else if (!s->captures) {
            n.curated += number_of(db, "select count(*) from record where stream = ?1 and kind = 'curated'", s->id);
        }
    }
    n.corrupt += number_of(db, "select count(*) from suppressed_range where rule = '' or ?1 = 1", 0);
    q = prepare(db, "select coalesce(sum(last - first + 1), 0) from gaps where reason = 'upstream_lost' and not hop");
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

static void read_hop(struct loop *loop, struct store *store, unsigned tier, uint8_t lane, enum part part)
{
    uint64_t epoch = 0, trimmed = 0, durable = 0;
    for (uint8_t behind = 0; behind <= LANES; behind += LANES) { /* the curated one counts, if there is one */
        struct spool_options options = {.table = GATEWAY_TABLE_SPOOL, .meta_table = GATEWAY_TABLE_META,
                                        .lane = (uint8_t)(lane + behind), .aead = aead};
        CLEANUP(spool_freep) struct spool *spool = NULL;
        struct fault fault = {0};
        if (spool_open(loop, store, &options, &spool, &fault) != OK) {
            fprintf(stderr, "weir-check: gateway lane %u: %s\n", lane, fault.text);
            n.order++;
        } else if (spool_epoch(spool) != 0) {
            epoch = spool_epoch(spool);
            trimmed = spool_trimmed(spool);
            durable = spool_durable(spool);
        }
    }
    if (part == TRIMMED) {
        hops[tier][lane].epoch = epoch;
        hops[tier][lane].trimmed = trimmed;
    } else if (hops[tier][lane].epoch == epoch) {
        hops[tier][lane].durable = durable;
    } else {
        hops[tier][lane].epoch = 0; /* a new epoch was begun meanwhile */
    }
}

static void read_hops(struct loop *loop, const char *path, unsigned tier, enum part part)
{
    struct store *store = open_store(loop, path, GATEWAY_TABLES, GATEWAY_TABLE_COUNT);
    for (uint8_t lane = 0; store != NULL && lane < LANES; lane++) {
        read_hop(loop, store, tier, lane, part);
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
    for (unsigned i = 0; i < TIERS_MAX * LANES; i++) {
        if (epoch != 0 && hops[i / LANES][i % LANES].epoch == epoch) {
            hops[i / LANES][i % LANES].hwm = max_u64(hops[i / LANES][i % LANES].hwm, w.hwm);
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
        s->gateway_hwm = max_u64(s->gateway_hwm, w.hwm);
        s->gateway_closed = w.closed;
    } else {
        fprintf(stderr, "weir-check: a stream's record at the gateway is damaged\n");
        n.order++;
    }
    return true;
}

/* Gateway and bridge have these tables in the same order; what each has beside them is its own. */
static void read_streams(struct loop *loop, const char *path, bool (*fn)(void *arg, struct slice key, struct slice value))
{
    struct store *store = open_store(loop, path, GATEWAY_TABLES, GATEWAY_TABLE_STREAMS + 1);
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
    for (unsigned i = 0; i < TIERS_MAX * LANES; i++) {
        uint64_t trimmed = hops[i / LANES][i % LANES].trimmed, hwm = hops[i / LANES][i % LANES].hwm,
                 durable = hops[i / LANES][i % LANES].durable;
        if (hops[i / LANES][i % LANES].epoch != 0 && (trimmed > hwm || hwm > durable)) {
            n.order++;
            fprintf(stderr, "gateway %u lane %u: trimmed %" PRIu64 ", above %" PRIu64 ", durable %" PRIu64 " are out of order\n",
                    i / LANES + 1, i % LANES, trimmed, hwm, durable);
        }
    }
    struct stream *s, *next;
    HASH_ITER(hh, streams, s, next)
    {
        if (!s->at_device) {
            if (s->in_sink && is_device(s->device) && !s->captures) {
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
    const char *gateways[TIERS_MAX], *bridges[TIERS_MAX], *sink = NULL, *key = NULL;
    unsigned gateway_count = 0, bridge_count = 0;
    bool final = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--final") == 0) {
            final = true;
            continue;
        }
        if (strcmp(argv[i], "--late") == 0) {
            late_allowed = true;
            continue;
        }
        const char **slot = strcmp(argv[i], "--gateway") == 0 && gateway_count < TIERS_MAX ? &gateways[gateway_count++]
                            : strcmp(argv[i], "--bridge") == 0 && bridge_count < TIERS_MAX ? &bridges[bridge_count++]
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
    if (sink == NULL || gateway_count == 0 || bridge_count == 0 || loop_new(&loop) != OK) {
        return 2;
    }
    check_sink(sink, true);
    for (unsigned i = 0; i < gateway_count; i++) {
        read_hops(loop, gateways[i], i, TRIMMED);
    }
    for (unsigned i = 0; i < bridge_count; i++) {
        read_streams(loop, bridges[i], on_hop);
    }
    for (unsigned i = 0; i < gateway_count; i++) {
        read_hops(loop, gateways[i], i, DURABLE);
    }
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
        for (unsigned i = 0; i < gateway_count && part == TRIMMED; i++) {
            read_streams(loop, gateways[i], on_stream);
        }
    }
    compare(final);
    printf("durable=%" PRIu64 " readings=%" PRIu64 " records=%" PRIu64 " lost=%" PRIu64 " duplicated=%" PRIu64
           " reordered=%" PRIu64 " corrupt=%" PRIu64 " phantom=%" PRIu64 " gaps=%" PRIu64 " undeclared_gaps=%" PRIu64
           " suppressed=%" PRIu64 " curated=%" PRIu64 " captured=%" PRIu64 " order_broken=%" PRIu64 " late=%" PRIu64 " streams=%u\n",
           n.durable, n.readings, n.records, n.lost, n.duplicated, n.reordered, n.corrupt, n.phantom, n.gaps, n.undeclared,
           n.suppressed, n.curated, n.captured, n.order, n.late, HASH_COUNT(streams));
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
