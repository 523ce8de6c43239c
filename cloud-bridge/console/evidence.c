/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/evidence.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/csv/csv.h"

/* "WEIR", as the sink marks its databases; inferences came with version 4 of its tables. */
#define APPLICATION_ID 0x57454952
enum { VERSION_LEAST = 4, BUSY_MS = 5000 };
#define RULE_WINDOW_MAX_US DAY_US /* so long before a time it is looked for windows of rules that reach it */

struct evidence {
    sqlite3 *db;
    char *path; /* owned */
};
/* A statement with a sticky error: bind everything, step, check once. */
struct query {
    struct evidence *e;
    sqlite3_stmt *stmt;
    int bound, column, rc;
};

/* ---- queries ---- */
static enum err err_of(int rc)
{
    switch (rc & 0xff) { /* without the extended part */
    case SQLITE_OK:
    case SQLITE_DONE:
        return OK;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_AGAIN;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
        return ERR_DENIED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_MALFORMED;
    default:
        return ERR_IO;
    }
}

static struct query query_new(struct evidence *e, const char *sql)
{
    struct query q = {.e = e};
    q.rc = sqlite3_prepare_v2(e->db, sql, -1, &q.stmt, NULL);
    return q;
}

static void query_deinit(struct query *q)
{
    sqlite3_finalize(q->stmt);
}

static void put_text(struct query *q, const char *text)
{
    q->rc = q->rc == SQLITE_OK ? sqlite3_bind_text(q->stmt, ++q->bound, text, -1, SQLITE_STATIC) : q->rc;
}

static void put_i64(struct query *q, int64_t value)
{
    q->rc = q->rc == SQLITE_OK ? sqlite3_bind_int64(q->stmt, ++q->bound, value) : q->rc;
}

/* As the sink writes times. */
static void put_time(struct query *q, int64_t us)
{
    char text[40], day[24];
    time_t seconds = (time_t)(max_i64(us, 0) / SECOND_US);
    struct tm tm;
    if (seconds > 253402300799 || gmtime_r(&seconds, &tm) == NULL) {
        seconds = 253402300799;
        (void)gmtime_r(&seconds, &tm);
    }
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(max_i64(us, 0) / MS_US % 1000));
    q->rc = q->rc == SQLITE_OK ? sqlite3_bind_text(q->stmt, ++q->bound, text, -1, SQLITE_TRANSIENT) : q->rc;
}

/* OK: a row is there. ERR_NOT_FOUND: no more. */
static enum err step(struct query *q)
{
    int rc = q->rc == SQLITE_OK ? sqlite3_step(q->stmt) : q->rc;
    q->column = 0;
    return rc == SQLITE_ROW ? OK : rc == SQLITE_DONE ? ERR_NOT_FOUND : err_of(rc);
}

static int64_t get_i64(struct query *q)
{
    return sqlite3_column_int64(q->stmt, q->column++);
}

static double get_f64(struct query *q)
{
    return sqlite3_column_double(q->stmt, q->column++);
}

/* Devices wrote it, and it goes to a terminal: without controls. */
static void get_text(struct query *q, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q->stmt, q->column++);
    snprintf(to, size, "%s", text != NULL ? text : "");
    for (char *c = to; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
}

/* Sixteen digits; 0 where there are none. */
static uint64_t get_hex(struct query *q)
{
    const char *text = (const char *)sqlite3_column_text(q->stmt, q->column++);
    return text != NULL ? strtoull(text, NULL, 16) : 0;
}

static int64_t time_of(const char *ts)
{
    int64_t us = 0;
    return csv_time(ts, &us) ? us : 0;
}

/* ---- opening ---- */
void evidence_fault(const struct evidence *e, enum err err, struct fault *reterr)
{
    (void)!fault_set(reterr, err, "%s: %s", e->path, err == ERR_NOMEM ? "out of memory" : sqlite3_errmsg(e->db));
}

void evidence_free(struct evidence *e)
{
    if (e == NULL) {
        return;
    }
    sqlite3_close(e->db);
    free(e->path);
    free(e);
}

static enum err pragma(struct evidence *e, const char *sql, int64_t *ret_value)
{
    CLEANUP(query_deinit) struct query q = query_new(e, sql);
    enum err err = step(&q);
    *ret_value = err == OK ? get_i64(&q) : 0;
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err check_schema(struct evidence *e, struct fault *reterr)
{
    int64_t application = 0, version = 0;
    enum err err = pragma(e, "pragma application_id", &application);
    err = err == OK ? pragma(e, "pragma user_version", &version) : err;
    if (err == ERR_MALFORMED) {
        return fault_set(reterr, err, "%s: is no SQLite database, or damaged: %s", e->path, sqlite3_errmsg(e->db));
    }
    if (err != OK) {
        evidence_fault(e, err, reterr);
        return err;
    }
    if (application != APPLICATION_ID) {
        return fault_set(reterr, ERR_CONFLICT, "%s: is no database of a bridge's SQLite sink", e->path);
    }
    if (version < VERSION_LEAST) {
        return fault_set(reterr, ERR_UNSUPPORTED,
                         "%s: schema %lld has no inferences; a bridge of this version brings it up to date when it "
                         "opens it",
                         e->path, (long long)version);
    }
    return OK;
}

/* What is asked for later must be there: a later schema is read as long as it has it. */
static enum err check_tables(struct evidence *e, struct fault *reterr)
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, "select r.received_us, v.us, c.name, g.reason, p.rule, w.rule, x.text, n.took_ms"
                                  " from record r, reading v, channel c, gap g, suppressed_range p, \"window\" w,"
                                  " event x, inference n limit 0");
    return q.rc == SQLITE_OK
               ? OK
               : fault_set(reterr, ERR_UNSUPPORTED, "%s: of a version that this program does not read: %s", e->path,
                           sqlite3_errmsg(e->db));
}

/* A database that nobody has open keeps no -wal beside it; one in a folder that we cannot write is then read as a file
 * that does not change (sqlite.org/wal.html#read_only_databases). */
static int open_still(const char *path, sqlite3 **ret_db)
{
    struct stat st;
    char uri[8192], wal[4096];
    size_t at = (size_t)snprintf(uri, sizeof(uri), "file:");
    if ((size_t)snprintf(wal, sizeof(wal), "%s-wal", path) >= sizeof(wal) || stat(wal, &st) == 0) {
        return SQLITE_CANTOPEN;
    }
    for (const char *c = path; *c != '\0' && at + 32 < sizeof(uri); c++) {
        at += (size_t)snprintf(uri + at, sizeof(uri) - at, strchr("%?#", *c) != NULL ? "%%%02X" : "%c", *c);
    }
    snprintf(uri + at, sizeof(uri) - at, "?immutable=1");
    return sqlite3_open_v2(uri, ret_db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
}

static int begin(struct evidence *e)
{
    (void)sqlite3_busy_timeout(e->db, BUSY_MS);
    int rc = sqlite3_exec(e->db, "begin", NULL, NULL, NULL);
    return rc == SQLITE_OK ? sqlite3_exec(e->db, "select 1 from sqlite_schema limit 1", NULL, NULL, NULL) : rc;
}

enum err evidence_open(const char *path, struct evidence **ret_evidence, struct fault *reterr)
{
    struct stat st;
    CLEANUP(evidence_freep) struct evidence *e = calloc(1, sizeof(*e));
    if (e == NULL || (e->path = strdup(path)) == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (stat(path, &st) != 0) {
        return fault_set(reterr, errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_DENIED,
                         "%s: %s; --db names the database of the bridge's SQLite sink", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return fault_set(reterr, ERR_CONFLICT, "%s: is no file", path);
    }
    if (access(path, R_OK) != 0) {
        return fault_set(reterr, ERR_DENIED, "%s: %s", path, strerror(errno));
    }
    int rc = sqlite3_open_v2(path, &e->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    rc = rc == SQLITE_OK ? begin(e) : rc;
    if ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY) {
        sqlite3_close(e->db);
        e->db = NULL;
        rc = open_still(path, &e->db);
        rc = rc == SQLITE_OK ? begin(e) : rc;
    }
    if (rc != SQLITE_OK && err_of(rc) != ERR_MALFORMED) {
        return fault_set(reterr, err_of(rc), "%s: cannot be read: %s", path,
                         e->db != NULL ? sqlite3_errmsg(e->db) : sqlite3_errstr(rc));
    }
    TRY(check_schema(e, reterr));
    TRY(check_tables(e, reterr));
    *ret_evidence = take(e);
    return OK;
}

/* ---- inferences ---- */
#define INFERENCE_COLUMNS                                                                                              \
    "select i.number, s.epoch, s.lane, i.ts, i.model, i.config, i.own_model, i.window_us, i.answer,"                   \
    " i.own_answer, i.label, i.answered_by, i.engine, i.asked, i.confidence, i.score, i.own_confidence, i.took_ms,"    \
    " i.repeats, i.skipped, r.gateway, r.received_us, i.device"                                                        \
    " from inference i join stream s on s.id = i.stream left join record r on r.stream = i.stream and"                 \
    " r.first = i.number"

static void take_inference(struct query *q, struct evidence_inference *i)
{
    *i = (struct evidence_inference){.number = (uint64_t)get_i64(q)};
    get_text(q, i->epoch, sizeof(i->epoch));
    i->lane = (unsigned)get_i64(q);
    get_text(q, i->ts, sizeof(i->ts));
    i->time_us = time_of(i->ts);
    i->model = get_hex(q);
    i->config = get_hex(q);
    i->own_model = get_hex(q);
    i->window_us = get_i64(q);
    i->answer = (unsigned)get_i64(q);
    i->own_answer = (unsigned)get_i64(q);
    get_text(q, i->label, sizeof(i->label));
    get_text(q, i->answered_by, sizeof(i->answered_by));
    get_text(q, i->engine, sizeof(i->engine));
    get_text(q, i->asked, sizeof(i->asked));
    i->confidence = get_f64(q);
    i->score = get_f64(q);
    i->own_confidence = get_f64(q);
    i->took_ms = (uint64_t)get_i64(q);
    i->repeats = (uint64_t)get_i64(q);
    i->skipped = (uint64_t)get_i64(q);
    get_text(q, i->gateway, sizeof(i->gateway));
    i->received_us = get_i64(q);
    i->device_id = get_i64(q);
    i->was_asked = strcmp(i->asked, "no") != 0;
}

enum err evidence_device(struct evidence *e, const char *device, int64_t *ret_id)
{
    CLEANUP(query_deinit) struct query q = query_new(e, "select id from device where name = ?");
    put_text(&q, device);
    TRY(step(&q));
    *ret_id = get_i64(&q);
    return OK;
}

static enum err count_others(struct evidence *e, struct evidence_inference *i)
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, "select count(*) - 1 from inference where device = ? and number = ?");
    put_i64(&q, i->device_id);
    put_i64(&q, (int64_t)i->number);
    TRY(step(&q));
    i->others = (uint64_t)get_i64(&q);
    return OK;
}

enum err evidence_inference(struct evidence *e, const struct evidence_key *key, struct evidence_inference *ret)
{
    int64_t device = 0;
    TRY(evidence_device(e, key->device, &device));
    if (key->number == 0) {
        CLEANUP(query_deinit)
        struct query q = query_new(e, INFERENCE_COLUMNS
                                   " where i.device = ? and i.ts <= ? order by i.ts desc, i.number desc limit 1");
        put_i64(&q, device);
        put_time(&q, key->at_us);
        TRY(step(&q));
        take_inference(&q, ret);
        return OK;
    }
    CLEANUP(query_deinit)
    struct query q = query_new(e, INFERENCE_COLUMNS " where i.device = ? and i.number = ? and (? = '' or s.epoch = ?)"
                                                    " order by i.ts desc limit 1");
    put_i64(&q, device);
    put_i64(&q, (int64_t)min_u64(key->number, INT64_MAX));
    put_text(&q, key->epoch != NULL ? key->epoch : "");
    put_text(&q, key->epoch != NULL ? key->epoch : "");
    TRY(step(&q));
    take_inference(&q, ret);
    return key->epoch == NULL ? count_others(e, ret) : OK;
}

enum err evidence_label(struct evidence *e, int64_t device_id, uint64_t model, unsigned class, char ret[EVIDENCE_NAME])
{
    char id[24];
    CLEANUP(query_deinit)
    struct query q = query_new(e, "select label from inference where device = ? and model = ? and answer = ?"
                                  " and answered_by = 'device' and label != '' limit 1");
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)model);
    put_i64(&q, device_id);
    put_text(&q, id);
    put_i64(&q, class);
    TRY(step(&q));
    get_text(&q, ret, EVIDENCE_NAME);
    return OK;
}

enum err evidence_span(struct evidence *e, int64_t device_id, uint64_t *ret_count, char ret_first[32],
                       char ret_last[32])
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, "select count(*), min(ts), max(ts) from inference where device = ?");
    put_i64(&q, device_id);
    TRY(step(&q));
    *ret_count = (uint64_t)get_i64(&q);
    get_text(&q, ret_first, 32);
    get_text(&q, ret_last, 32);
    return OK;
}

static enum err beside(struct evidence *e, const char *sql, const struct evidence_inference *of,
                       struct evidence_inference *ret)
{
    CLEANUP(query_deinit) struct query q = query_new(e, sql);
    *ret = (struct evidence_inference){.number = 0};
    put_i64(&q, of->device_id);
    put_text(&q, of->ts);
    enum err err = step(&q);
    if (err == OK) {
        take_inference(&q, ret);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err evidence_beside(struct evidence *e, const struct evidence_inference *of, struct evidence_inference *ret_before,
                         struct evidence_inference *ret_after)
{
    TRY(beside(e, INFERENCE_COLUMNS " where i.device = ? and i.ts < ? order by i.ts desc, i.number desc limit 1", of,
               ret_before));
    return beside(e, INFERENCE_COLUMNS " where i.device = ? and i.ts > ? order by i.ts, i.number limit 1", of,
                  ret_after);
}

enum err evidence_answers(struct evidence *e, int64_t device_id, int64_t at_us, unsigned most,
                          struct evidence_answers *ret)
{
    CLEANUP(query_deinit)
    struct query q =
        query_new(e, "select count(*), sum(asked = 'answered'), sum(asked = 'answered' and own_answer != answer),"
                     " avg(coalesce(own_confidence, confidence)), avg(score) from"
                     " (select * from inference where device = ? and ts <= ? order by ts desc, number desc limit ?)");
    put_i64(&q, device_id);
    put_time(&q, at_us);
    put_i64(&q, most);
    TRY(step(&q));
    ret->count = (uint64_t)get_i64(&q);
    ret->answered = (uint64_t)get_i64(&q);
    ret->differed = (uint64_t)get_i64(&q);
    ret->confidence = get_f64(&q);
    ret->score = get_f64(&q);
    return OK;
}

/* ---- readings ---- */
void evidence_samples_deinit(struct evidence_samples *s)
{
    free(s->times);
    free(s->records);
    free(s->values);
    *s = (struct evidence_samples){.rows = 0};
}

enum err evidence_samples_add(struct evidence_samples *s, int64_t time_us, int64_t record)
{
    if (s->rows == s->cap) {
        size_t cap = s->cap == 0 ? 1024 : 2 * s->cap;
        if (cap * s->channels > EVIDENCE_VALUES_MAX) {
            return ERR_FULL;
        }
        int64_t *times = realloc(s->times, cap * sizeof(*times));
        s->times = times != NULL ? times : s->times;
        int64_t *records = realloc(s->records, cap * sizeof(*records));
        s->records = records != NULL ? records : s->records;
        float *values =
            times != NULL && records != NULL ? realloc(s->values, cap * s->channels * sizeof(*values)) : NULL;
        if (values == NULL) {
            return ERR_NOMEM;
        }
        s->values = values;
        s->cap = cap;
    }
    s->times[s->rows] = time_us;
    s->records[s->rows] = record;
    for (size_t c = 0; c < s->channels; c++) {
        s->values[s->rows * s->channels + c] = NAN;
    }
    s->rows++;
    return OK;
}

/* Milliseconds stand in ts, in text and therefore in order; what is below them beside it. */
enum err evidence_samples(struct evidence *e, int64_t device_id, int64_t from_us, int64_t to_us,
                          const char *const *channels, size_t count, struct evidence_samples *ret)
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, "select r.ts, r.us, r.stream, r.number, r.idx, coalesce(c.name, 'c' || r.channel),"
                                  " r.value from reading r left join channel c on c.device = r.device"
                                  " and c.set_id = r.set_id and c.idx = r.channel"
                                  " where r.device = ? and r.ts between ? and ?"
                                  " order by r.ts, r.stream, r.number, r.idx, r.channel");
    int64_t last[3] = {-1, -1, -1};
    char ts[32], name[EVIDENCE_NAME];
    enum err err;
    *ret = (struct evidence_samples){.channels = count};
    put_i64(&q, device_id);
    put_time(&q, from_us);
    put_time(&q, to_us);
    while ((err = step(&q)) == OK) {
        get_text(&q, ts, sizeof(ts));
        int64_t us = get_i64(&q), stream = get_i64(&q), number = get_i64(&q), idx = get_i64(&q);
        get_text(&q, name, sizeof(name));
        double value = get_f64(&q);
        if (stream != last[0] || number != last[1] || idx != last[2]) {
            TRY(evidence_samples_add(ret, time_of(ts) + us, number));
            last[0] = stream;
            last[1] = number;
            last[2] = idx;
        }
        for (size_t c = 0; c < count; c++) {
            if (strcmp(name, channels[c]) == 0) {
                ret->values[(ret->rows - 1) * count + c] = (float)value;
            }
        }
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

/* ---- what is missing ---- */
static enum err add_reasons(struct query *q, struct evidence_reason *reasons, size_t *count)
{
    enum err err;
    while ((err = step(q)) == OK && *count < EVIDENCE_REASONS_MAX) {
        struct evidence_reason *r = &reasons[(*count)++];
        get_text(q, r->kind, sizeof(r->kind));
        get_text(q, r->name, sizeof(r->name));
        r->first = (uint64_t)get_i64(q);
        r->last = (uint64_t)get_i64(q);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

/* A gap has no time of its samples: it is of that time when its numbers lie between those of the stream's blocks before
 * and after. Other records do not tell: an answer has a lower number than the block that it was made from. */
static enum err lost(struct evidence *e, int64_t device_id, int64_t from_us, int64_t to_us,
                     struct evidence_reason *reasons, size_t *count)
{
    CLEANUP(query_deinit)
    struct query q =
        query_new(e, "with around as (select s.id as stream,"
                     "  coalesce((select max(r.last) from record r where r.device = s.device and r.stream = s.id"
                     "    and r.readings > 0 and r.ts_end < ?2), 0) as low,"
                     "  coalesce((select min(r.first) from record r where r.device = s.device and r.stream = s.id"
                     "    and r.readings > 0 and r.ts > ?3), 9223372036854775807) as high"
                     "  from stream s where s.device = ?1 and exists(select 1 from record r where r.device = s.device"
                     "    and r.stream = s.id and r.readings > 0))"
                     " select 'gap', g.reason, g.first, g.last from gap g join around a on a.stream = g.stream"
                     "  where g.last > a.low and g.first < a.high"
                     " union all select 'suppressed', p.rule, p.first, p.last from suppressed_range p join around a"
                     "  on a.stream = p.stream where p.last > a.low and p.first < a.high limit ?4");
    put_i64(&q, device_id);
    put_time(&q, from_us);
    put_time(&q, to_us);
    put_i64(&q, EVIDENCE_REASONS_MAX);
    return add_reasons(&q, reasons, count);
}

static enum err curated(struct evidence *e, int64_t device_id, int64_t from_us, int64_t to_us,
                        struct evidence_reason *reasons, size_t *count)
{
    CLEANUP(query_deinit)
    struct query q = query_new(
        e,
        "select 'window', w.rule, min(w.number), max(w.number) from \"window\" w where w.device = ?1"
        "  and w.ts between ?5 and ?3 and unixepoch(substr(w.ts, 1, 19)) + w.length_us / 1e6 >= unixepoch(substr(?2, "
        "1, 19)) group by w.rule"
        " union all select 'curated', '', min(r.first), max(r.last) from record r where r.device = ?1"
        "  and r.kind = 'curated' and r.readings > 0 and r.ts <= ?3 and r.ts_end >= ?2 having count(*) > 0 limit ?4");
    put_i64(&q, device_id);
    put_time(&q, from_us);
    put_time(&q, to_us);
    put_i64(&q, EVIDENCE_REASONS_MAX);
    put_time(&q, from_us - RULE_WINDOW_MAX_US);
    return add_reasons(&q, reasons, count);
}

enum err evidence_reasons(struct evidence *e, int64_t device_id, int64_t from_us, int64_t to_us,
                          struct evidence_reason reasons[EVIDENCE_REASONS_MAX], size_t *ret_count)
{
    *ret_count = 0;
    TRY(lost(e, device_id, from_us, to_us, reasons, ret_count));
    return curated(e, device_id, from_us, to_us, reasons, ret_count);
}

/* ---- events ---- */
/* A gateway's own events name the device in their text: device=D, or device=site/gateway/D. */
#define EVENT_COLUMNS                                                                                                  \
    "select d.name, v.ts, v.severity, v.id, v.text, v.number from event v join stream s on s.id = v.stream"            \
    " join device d on d.id = s.device where (d.name = ?1 or instr(v.text || ' ', 'device=' || ?1 || ' ') > 0"         \
    " or (v.text like 'device=%' and instr(v.text || ' ', '/' || ?1 || ' ') > 0))"

static void take_event(struct query *q, struct evidence_event *event)
{
    get_text(q, event->source, sizeof(event->source));
    get_text(q, event->ts, sizeof(event->ts));
    event->time_us = time_of(event->ts);
    get_text(q, event->severity, sizeof(event->severity));
    get_text(q, event->id, sizeof(event->id));
    get_text(q, event->text, sizeof(event->text));
    event->number = (uint64_t)get_i64(q);
}

enum err evidence_events(struct evidence *e, const char *device, int64_t from_us, int64_t to_us, int64_t at_us,
                         struct evidence_event events[EVIDENCE_EVENTS_MAX], size_t *ret_count)
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, EVENT_COLUMNS " and v.ts between ?2 and ?3"
                                                " order by abs(julianday(v.ts) - julianday(?4)), v.ts limit ?5");
    enum err err;
    *ret_count = 0;
    put_text(&q, device);
    put_time(&q, from_us);
    put_time(&q, to_us);
    put_time(&q, at_us);
    put_i64(&q, EVIDENCE_EVENTS_MAX);
    while ((err = step(&q)) == OK) {
        take_event(&q, &events[(*ret_count)++]);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err evidence_event(struct evidence *e, const char *device, const char *id, int64_t at_us,
                        struct evidence_event *ret)
{
    CLEANUP(query_deinit)
    struct query q = query_new(e, EVENT_COLUMNS " and v.id = ?2 and v.ts <= ?3 order by v.ts desc, v.number desc"
                                                " limit 1");
    put_text(&q, device);
    put_text(&q, id);
    put_time(&q, at_us);
    TRY(step(&q));
    take_event(&q, ret);
    return OK;
}
