/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables. Singular names are what the sink writes, plural names are views for people.
 *
 * Identity comes first: a record is (stream, first), a reading (stream, number, idx, channel); a stream is (device,
 * epoch). `reading` is one tree, clustered by device and time, so that "one device, in order of time" is one walk
 * without a sort and without a second index; the time is text because people compare it with text. Names of
 * channels are joined, not copied: a description that comes late names the rows that came before it.
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

#include <stdio.h>

/* "WEIR" */
#define APPLICATION_ID 0x57454952

/* What version 2 brought. */
static const char schema_windows[] =
    "create table \"window\"("
    "  device integer not null, ts text not null, stream integer not null, number integer not null,"
    "  idx integer not null, set_id integer not null, channel integer not null, rule text not null,"
    "  length_us integer not null, count integer not null, mean real not null, m2 real not null, min real not null,"
    "  max real not null, sketch blob not null, partial integer not null, late integer not null, rules text not null,"
    "  primary key(device, ts, stream, number, idx)) without rowid, strict;"
    "create view windows as"
    "  select d.name as device, w.ts as ts, w.length_us / 1e6 as seconds, coalesce(c.name, 'c' || w.channel) as "
    "channel,"
    "    c.unit as unit, w.rule as rule, w.count as count, w.mean as mean,"
    "    case when w.count > 1 then sqrt(w.m2 / (w.count - 1)) else 0 end as std, w.min as min, w.max as max,"
    "    case when w.count > 0 then sqrt(w.m2 / w.count + w.mean * w.mean) else 0 end as rms, w.partial as partial,"
    "    w.late as late, w.rules as rules, s.epoch as epoch, w.number as number"
    "  from \"window\" w join device d on d.id = w.device join stream s on s.id = w.stream"
    "    left join channel c on c.device = w.device and c.set_id = w.set_id and c.idx = w.channel;";

/* What version 3 brought. Windows that were there keep their sketch and have no quantiles. */
static const char schema_quantiles[] =
    "alter table \"window\" add column p50 real;"
    "alter table \"window\" add column p95 real;"
    "alter table \"window\" add column p99 real;"
    "drop view windows;"
    "create view windows as"
    "  select d.name as device, w.ts as ts, w.length_us / 1e6 as seconds, coalesce(c.name, 'c' || w.channel) as "
    "channel,"
    "    c.unit as unit, w.rule as rule, w.count as count, w.mean as mean,"
    "    case when w.count > 1 then sqrt(w.m2 / (w.count - 1)) else 0 end as std, w.min as min, w.max as max,"
    "    case when w.count > 0 then sqrt(w.m2 / w.count + w.mean * w.mean) else 0 end as rms, w.partial as partial,"
    "    w.late as late, w.rules as rules, s.epoch as epoch, w.number as number, w.p50 as p50, w.p95 as p95,"
    "    w.p99 as p99"
    "  from \"window\" w join device d on d.id = w.device join stream s on s.id = w.stream"
    "    left join channel c on c.device = w.device and c.set_id = w.set_id and c.idx = w.channel;"
    "drop view if exists suppressed;"
    "create view suppressed as"
    "  select d.name as device, s.epoch as epoch, s.lane as lane, r.first as first, r.last as last, r.rule as rule,"
    "    r.rule_version as version"
    "  from suppressed_range r join stream s on s.id = r.stream join device d on d.id = s.device;";

/* What version 4 brought. */
static const char schema_inferences[] =
    "create table inference("
    "  device integer not null, ts text not null, stream integer not null, number integer not null,"
    "  model text not null, config text not null, window_us integer not null, quality integer not null,"
    "  answer integer not null, label text not null, confidence real not null, score real not null,"
    "  answered_by text not null, engine text not null, asked text not null, own_model text, own_answer integer,"
    "  own_confidence real, took_ms integer, repeats integer not null, skipped integer not null,"
    "  primary key(device, ts, stream, number)) without rowid, strict;"
    "create view inferences as"
    "  select d.name as device, i.ts as ts, i.model as model, i.label as label, i.confidence as confidence,"
    "    i.score as score, i.answered_by as answered_by, i.engine as engine, i.asked as asked,"
    "    i.own_answer as own_answer, i.own_confidence as own_confidence, i.took_ms as took_ms, i.answer as answer,"
    "    i.window_us / 1e6 as seconds, i.repeats as repeats, i.skipped as skipped, i.own_model as own_model,"
    "    i.config as config, s.epoch as epoch, i.number as number"
    "  from inference i join device d on d.id = i.device join stream s on s.id = i.stream;";

static const char schema[] =
    "create table device(id integer primary key, name text not null unique) strict;"
    "create table stream("
    "  id integer primary key, device integer not null references device(id), epoch text not null,"
    "  lane integer not null, hop integer not null, hwm integer not null, top integer not null,"
    "  records integer not null, readings integer not null, gaps integer not null, suppressed integer not null,"
    "  unique(device, epoch)) strict;"
    /* how far the sink is in the bridge's spool */
    "create table position("
    "  epoch text not null, lane integer not null, position integer not null, primary key(epoch, lane)) strict;"
    /* one row a record; id is the order of arrival */
    "create table record("
    "  id integer primary key, device integer not null, stream integer not null references stream(id),"
    "  first integer not null, last integer not null, kind text not null, ts text not null, ts_end text not null,"
    "  readings integer not null, received_us integer not null, gateway text not null,"
    "  unique(stream, first)) strict;"
    "create index record_by_device on record(device);"
    "create table reading("
    "  device integer not null, ts text not null, stream integer not null, number integer not null,"
    "  idx integer not null, channel integer not null, value real not null, set_id integer not null,"
    "  quality integer not null, us integer not null,"
    "  primary key(device, ts, stream, number, idx, channel)) without rowid, strict;"
    "create table channel("
    "  device integer not null, set_id integer not null, idx integer not null, name text not null, unit text not null,"
    "  resolution real not null, primary key(device, set_id, idx)) without rowid, strict;"
    "create table description("
    "  stream integer not null, number integer not null, set_id integer not null, config text not null,"
    "  model text not null, boot_id text not null, software text not null, source text not null,"
    "  primary key(stream, number)) without rowid, strict;"
    "create table event("
    "  stream integer not null, number integer not null, ts text not null, severity text not null, id text not null,"
    "  text text not null, channel text not null, value real, primary key(stream, number)) without rowid, strict;"
    "create table health("
    "  stream integer not null, number integer not null, ts text not null, uptime_s integer, rss_bytes integer,"
    "  store_used_bytes integer, store_cap_bytes integer, records integer, gaps integer, connects integer,"
    "  samples integer, primary key(stream, number)) without rowid, strict;"
    "create table gap("
    "  stream integer not null, first integer not null, last integer not null, reason text not null,"
    "  ts text not null, primary key(stream, first)) without rowid, strict;"
    "create table suppressed_range("
    "  stream integer not null, first integer not null, last integer not null, rule text not null,"
    "  rule_version integer not null, primary key(stream, first)) without rowid, strict;"
    /* records of a kind or schema that this version cannot read: kept whole, so that a later one can */
    "create table unread("
    "  stream integer not null, first integer not null, last integer not null, schema integer not null,"
    "  record blob not null, primary key(stream, first)) strict;"

    "create view readings as"
    "  select d.name as device, r.ts as ts, coalesce(c.name, 'c' || r.channel) as channel, r.value as value,"
    "    c.unit as unit, s.epoch as epoch, r.number as number, r.idx as idx,"
    "    case r.quality when 0 then 'unsynced' when 1 then 'ntp' when 2 then 'gateway' else 'unknown' end as quality,"
    "    r.us as us, r.set_id as \"set\""
    "  from device d join reading r on r.device = d.id join stream s on s.id = r.stream"
    "    left join channel c on c.device = r.device and c.set_id = r.set_id and c.idx = r.channel;"
    "create view streams as"
    "  select d.name as device, s.epoch as epoch, s.lane as lane, s.hwm as hwm, s.top as top, s.records as records,"
    "    s.readings as readings, s.gaps as gaps, s.suppressed as suppressed, s.hop as hop"
    "  from stream s join device d on d.id = s.device;"
    "create view records as"
    "  select d.name as device, s.epoch as epoch, s.lane as lane, r.first as first, r.last as last, r.kind as kind,"
    "    r.ts as ts, r.readings as readings, r.received_us as received_us, r.gateway as gateway, r.id as row"
    "  from record r join stream s on s.id = r.stream join device d on d.id = r.device;"
    "create view events as"
    "  select d.name as device, e.ts as ts, e.severity as severity, e.id as id, e.text as text, e.channel as channel,"
    "    e.value as value, s.epoch as epoch, e.number as number"
    "  from event e join stream s on s.id = e.stream join device d on d.id = s.device;"
    "create view healths as"
    "  select d.name as device, h.ts as ts, h.uptime_s as uptime_s, h.rss_bytes as rss_bytes,"
    "    h.store_used_bytes as store_used_bytes, h.store_cap_bytes as store_cap_bytes, h.records as records,"
    "    h.gaps as gaps, h.connects as connects, h.samples as samples, s.epoch as epoch, h.number as number"
    "  from health h join stream s on s.id = h.stream join device d on d.id = s.device;"
    "create view gaps as"
    "  select d.name as device, s.epoch as epoch, s.lane as lane, g.first as first, g.last as last,"
    "    g.reason as reason, g.ts as ts, s.hop as hop"
    "  from gap g join stream s on s.id = g.stream join device d on d.id = s.device;";

static int first_column(void *arg, int columns, char **values, char **names)
{
    (void)names;
    *(long *)arg = columns > 0 && values[0] != NULL ? strtol(values[0], NULL, 10) : 0;
    return 0;
}

static enum err pragma(sqlite3 *db, const char *path, const char *sql, long *ret_value, struct fault *reterr)
{
    *ret_value = 0;
    if (sqlite3_exec(db, sql, first_column, ret_value, NULL) != SQLITE_OK) {
        return sqlite_fault(reterr, db, path);
    }
    return OK;
}

enum err sqlite_schema_apply(sqlite3 *db, const char *path, struct fault *reterr)
{
    long version = 0, application = 0, tables = 0;
    TRY(pragma(db, path, "pragma user_version", &version, reterr));
    TRY(pragma(db, path, "pragma application_id", &application, reterr));
    TRY(pragma(db, path, "select count(*) from sqlite_schema", &tables, reterr));
    if (application != APPLICATION_ID && tables > 0) {
        return fault_set(reterr, ERR_CONFLICT, "%s: a database of another program", path);
    }
    if (version > SQLITE_SINK_VERSION) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s: written by a later version (schema %ld, known %d)", path,
                         version, SQLITE_SINK_VERSION);
    }
    if (version == SQLITE_SINK_VERSION) {
        return OK;
    }
    char mark[128];
    snprintf(mark, sizeof(mark), "pragma application_id = %d; pragma user_version = %d; commit", APPLICATION_ID,
             SQLITE_SINK_VERSION);
    if (sqlite3_exec(db, "begin immediate", NULL, NULL, NULL) != SQLITE_OK ||
        (version == 0 && sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK) ||
        (version < 2 && sqlite3_exec(db, schema_windows, NULL, NULL, NULL) != SQLITE_OK) ||
        (version < 3 && sqlite3_exec(db, schema_quantiles, NULL, NULL, NULL) != SQLITE_OK) ||
        sqlite3_exec(db, schema_inferences, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, mark, NULL, NULL, NULL) != SQLITE_OK) {
        return sqlite_fault(reterr, db, path);
    }
    return OK;
}
