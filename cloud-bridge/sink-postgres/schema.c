/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables: those of the SQLite sink, with the types of PostgreSQL. Singular names are what the sink writes, plural
 * names are views for people.
 *
 * `reading` has its time in the primary key, which TimescaleDB asks of a hypertable; it is made one where that
 * extension is installed (settings: timescale). Versioned by the table `version`; a later version is left alone.
 */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

#include <stdio.h>

enum { SCHEMA_VERSION = 3 };

const char *const table_names[TABLES] = {
    [TABLE_RECORD] = "record",       [TABLE_READING] = "reading",     [TABLE_CHANNEL] = "channel",
    [TABLE_DESCRIPTION] = "description", [TABLE_EVENT] = "event",     [TABLE_HEALTH] = "health",
    [TABLE_GAP] = "gap",             [TABLE_SUPPRESSED] = "suppressed_range", [TABLE_WINDOW] = "window",
    [TABLE_INFERENCE] = "inference", [TABLE_UNREAD] = "unread",       [TABLE_FILL] = "fill",           [TABLE_MARK] = "mark",
};

/* What version 3 brought. */
static const char inferences[] =
    "create table inference("
    "  device bigint not null, ts timestamptz not null, stream bigint not null, number bigint not null,"
    "  model text not null, config text not null, window_us bigint not null, quality smallint not null,"
    "  answer bigint not null, label text not null, confidence double precision not null,"
    "  score double precision not null, answered_by text not null, engine text not null, asked text not null,"
    "  own_model text not null, own_answer bigint not null, own_confidence double precision not null,"
    "  took_ms bigint not null, repeats bigint not null, skipped bigint not null,"
    "  primary key(device, ts, stream, number));"
    "create view inferences as"
    "  select d.name as device, i.ts, i.model, i.label, i.confidence, i.score, i.answered_by, i.engine, i.asked,"
    "    case when i.asked <> 'no' then i.own_answer end as own_answer,"
    "    case when i.asked <> 'no' then i.own_confidence end as own_confidence,"
    "    case when i.asked <> 'no' then i.took_ms end as took_ms, i.answer, i.window_us / 1e6 as seconds, i.repeats,"
    "    i.skipped, case when i.asked <> 'no' then i.own_model end as own_model, i.config, s.epoch, i.number"
    "  from inference i join device d on d.id = i.device join stream s on s.id = i.stream;";

static const char tables[] =
    "create table device(id bigint generated always as identity primary key, name text not null unique);"
    "create table stream("
    "  id bigint generated always as identity primary key, device bigint not null references device(id),"
    "  epoch text not null, lane smallint not null, hop boolean not null, hwm bigint not null default 0,"
    "  top bigint not null default 0, records bigint not null default 0, readings bigint not null default 0,"
    "  gaps bigint not null default 0, suppressed bigint not null default 0, unique(device, epoch));"
    /* how far the sink is in the bridge's spool */
    "create table position("
    "  epoch text not null, lane smallint not null, position bigint not null, primary key(epoch, lane));"
    "create table record("
    "  device bigint not null, stream bigint not null, first bigint not null, last bigint not null, kind text not null,"
    "  ts timestamptz not null, ts_end timestamptz not null, readings integer not null, received timestamptz not null,"
    "  gateway text not null, primary key(stream, first));"
    "create table reading("
    "  device bigint not null, ts timestamptz not null, stream bigint not null, number bigint not null,"
    "  idx integer not null, channel integer not null, value double precision not null, set_id bigint not null,"
    "  quality smallint not null, primary key(device, ts, stream, number, idx, channel));"
    "create table channel("
    "  device bigint not null, set_id bigint not null, idx integer not null, name text not null, unit text not null,"
    "  resolution double precision not null, primary key(device, set_id, idx));"
    "create table description("
    "  stream bigint not null, number bigint not null, set_id bigint not null, config text not null, model text not "
    "null,"
    "  boot_id text not null, software text not null, source text not null, primary key(stream, number));"
    "create table event("
    "  stream bigint not null, number bigint not null, ts timestamptz not null, severity text not null, id text not "
    "null,"
    "  text text not null, channel text not null, value double precision, primary key(stream, number));"
    "create table health("
    "  stream bigint not null, number bigint not null, ts timestamptz not null, uptime_s bigint, rss_bytes bigint,"
    "  store_used_bytes bigint, store_cap_bytes bigint, records bigint, gaps bigint, connects bigint, samples bigint,"
    "  primary key(stream, number));"
    "create table gap("
    "  stream bigint not null, first bigint not null, last bigint not null, reason text not null, ts timestamptz not "
    "null,"
    "  primary key(stream, first));"
    "create table suppressed_range("
    "  stream bigint not null, first bigint not null, last bigint not null, rule text not null,"
    "  rule_version bigint not null, primary key(stream, first));"
    "create table \"window\"("
    "  device bigint not null, ts timestamptz not null, stream bigint not null, number bigint not null,"
    "  idx integer not null, set_id bigint not null, channel integer not null, rule text not null,"
    "  length_us bigint not null, count bigint not null, mean double precision not null, m2 double precision not null,"
    "  min double precision not null, max double precision not null, sketch bytea not null, partial boolean not null,"
    "  late bigint not null, rules text not null, primary key(device, ts, stream, number, idx));"
    /* records of a kind or schema that this version cannot read: kept whole, so that a later one can */
    "create table unread("
    "  stream bigint not null, first bigint not null, last bigint not null, schema bigint not null,"
    "  record bytea not null, primary key(stream, first));";

static const char views[] =
    "create view readings as"
    "  select d.name as device, r.ts, coalesce(c.name, 'c' || r.channel) as channel, r.value, c.unit, s.epoch, "
    "r.number,"
    "    r.idx, case r.quality when 0 then 'unsynced' when 1 then 'ntp' when 2 then 'gateway' else 'unknown' end as "
    "quality,"
    "    r.set_id as set"
    "  from device d join reading r on r.device = d.id join stream s on s.id = r.stream"
    "    left join channel c on c.device = r.device and c.set_id = r.set_id and c.idx = r.channel;"
    "create view streams as"
    "  select d.name as device, s.epoch, s.lane, s.hwm, s.top, s.records, s.readings, s.gaps, s.suppressed, s.hop"
    "  from stream s join device d on d.id = s.device;"
    "create view records as"
    "  select d.name as device, s.epoch, s.lane, r.first, r.last, r.kind, r.ts, r.readings, r.received, r.gateway"
    "  from record r join stream s on s.id = r.stream join device d on d.id = r.device;"
    "create view events as"
    "  select d.name as device, e.ts, e.severity, e.id, e.text, e.channel, e.value, s.epoch, e.number"
    "  from event e join stream s on s.id = e.stream join device d on d.id = s.device;"
    "create view healths as"
    "  select d.name as device, h.ts, h.uptime_s, h.rss_bytes, h.store_used_bytes, h.store_cap_bytes, h.records, "
    "h.gaps,"
    "    h.connects, h.samples, s.epoch, h.number"
    "  from health h join stream s on s.id = h.stream join device d on d.id = s.device;"
    "create view gaps as"
    "  select d.name as device, s.epoch, s.lane, g.first, g.last, g.reason, g.ts, s.hop"
    "  from gap g join stream s on s.id = g.stream join device d on d.id = s.device;"
    "create view windows as"
    "  select d.name as device, w.ts, w.length_us / 1e6 as seconds, coalesce(c.name, 'c' || w.channel) as channel, "
    "c.unit,"
    "    w.rule, w.count, w.mean, case when w.count > 1 then sqrt(w.m2 / (w.count - 1)) else 0 end as std, w.min, "
    "w.max,"
    "    case when w.count > 0 then sqrt(w.m2 / w.count + w.mean * w.mean) else 0 end as rms, w.partial, w.late, "
    "w.rules,"
    "    s.epoch, w.number"
    "  from \"window\" w join device d on d.id = w.device join stream s on s.id = w.stream"
    "    left join channel c on c.device = w.device and c.set_id = w.set_id and c.idx = w.channel;";

/* What version 2 brought. Windows that were there keep their sketch and have no quantiles. Views that others have made
 * on `windows` live on: its new columns stand behind those that were there. */
static const char second[] =
    "alter table \"window\" add column p50 double precision, add column p95 double precision,"
    "  add column p99 double precision;"
    "create or replace view windows as"
    "  select d.name as device, w.ts, w.length_us / 1e6 as seconds, coalesce(c.name, 'c' || w.channel) as channel, "
    "c.unit,"
    "    w.rule, w.count, w.mean, case when w.count > 1 then sqrt(w.m2 / (w.count - 1)) else 0 end as std, w.min, "
    "w.max,"
    "    case when w.count > 0 then sqrt(w.m2 / w.count + w.mean * w.mean) else 0 end as rms, w.partial, w.late, "
    "w.rules,"
    "    s.epoch, w.number, w.p50, w.p95, w.p99"
    "  from \"window\" w join device d on d.id = w.device join stream s on s.id = w.stream"
    "    left join channel c on c.device = w.device and c.set_id = w.set_id and c.idx = w.channel;"
    "create view suppressed as"
    "  select d.name as device, s.epoch, s.lane, r.first, r.last, r.rule, r.rule_version as version"
    "  from suppressed_range r join stream s on s.id = r.stream join device d on d.id = s.device;";

static enum err find_version(struct postgres *pg, long *ret_version, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *there = NULL, *version = NULL;
    *ret_version = 0;
    TRY(pg_query(pg, "select to_regclass(quote_ident(current_schema()) || '.version') is not null", NULL, 0, &there,
                 reterr));
    if (strcmp(PQgetvalue(there, 0, 0), "t") == 0) {
        TRY(pg_query(pg, "select coalesce(max(version), 0) from version", NULL, 0, &version, reterr));
        *ret_version = strtol(PQgetvalue(version, 0, 0), NULL, 10);
    }
    return OK;
}

static enum err make_hypertable(struct postgres *pg, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *there = NULL;
    if (!pg->settings->timescale) {
        return OK;
    }
    TRY(pg_query(pg, "select 1 from pg_extension where extname = 'timescaledb'", NULL, 0, &there, reterr));
    if (PQntuples(there) == 0) {
        return OK;
    }
    return pg_run(pg, "select create_hypertable('reading', 'ts', if_not_exists => true)", reterr);
}

static enum err make(struct postgres *pg, struct fault *reterr)
{
    TRY(pg_run(pg, tables, reterr));
    TRY(pg_run(pg, views, reterr));
    TRY(make_hypertable(pg, reterr));
    return pg_run(pg, "create table version(version integer not null); insert into version values(1)", reterr);
}

static enum err apply(struct postgres *pg, struct fault *reterr)
{
    long version;
    /* two bridges may start at once */
    TRY(pg_run(pg, "begin; select pg_advisory_xact_lock(hashtext('weir schema'))", reterr));
    TRY(find_version(pg, &version, reterr));
    if (version > SCHEMA_VERSION) {
        return fault_set(reterr, ERR_CONFLICT, "schema %s was made by a later version (%ld, known %d)",
                         pg->settings->schema, version, SCHEMA_VERSION);
    }
    if (version == 0) {
        TRY(make(pg, reterr));
    }
    if (version < 2) {
        TRY(pg_run(pg, second, reterr));
    }
    if (version < SCHEMA_VERSION) {
        char sql[64];
        snprintf(sql, sizeof(sql), "update version set version = %d", SCHEMA_VERSION);
        TRY(pg_run(pg, inferences, reterr));
        TRY(pg_run(pg, sql, reterr));
    }
    return pg_run(pg, "commit", reterr);
}

/* Rows come through tables of the session: a key that is there already is no error for COPY then. */
static enum err make_stages(struct postgres *pg, struct fault *reterr)
{
    BUFFER(sql, 8192);
    for (unsigned i = 0; i < TABLE_FILL; i++) {
        buffer_printf(&sql, "create temporary table stage_%s(like \"%s\") on commit delete rows;", table_names[i],
                      table_names[i]);
    }
    buffer_put_str(&sql,
                   "create temporary table stage_fill(stream bigint, first bigint, last bigint) on commit delete rows;"
                   "create temporary table stage_rest(like gap) on commit delete rows;"
                   "create temporary view taken as select stream, range_agg(int8range(first, last, '[]')) as numbers"
                   " from stage_fill group by stream;"
                   "create temporary table stage_mark(id bigint, hwm bigint, top bigint, records bigint,"
                   " readings bigint, gaps bigint, suppressed bigint) on commit delete rows");
    buffer_put_u8(&sql, '\0');
    TRY(buffer_err(&sql));
    return pg_run(pg, (const char *)sql.ptr, reterr);
}

enum err pg_schema_apply(struct postgres *pg, struct fault *reterr)
{
    TRY(apply(pg, reterr));
    return make_stages(pg, reterr);
}
