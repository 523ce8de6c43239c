/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console_internal - what the verbs share: the command line taken apart, documents of the daemons, text tables.
 */
#ifndef CLOUD_BRIDGE_CONSOLE_CONSOLE_INTERNAL_H
#define CLOUD_BRIDGE_CONSOLE_CONSOLE_INTERNAL_H

#include <cjson/cJSON.h>

#include "cloud-bridge/console/console.h"
#include "core/base/arena.h"
#include "core/base/base.h"
#include "core/base/buffer.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_UNREACHABLE = 4,
    EXIT_DEGRADED = 5,
    EXIT_DENIED = 6,
};

/* ---- console.c: the command line ---- */
struct args {
    const char *run;    /* folder of the control sockets */
    const char *device; /* --device, or tail's DEVICE */
    const char *sink;   /* dead */
    const char *words[2]; /* of a verb that takes words, in order */
    const char *replay, *out;
    bool json, settled, once, watch, color;
    int64_t watch_us;
    int64_t lines;
    const char *gateway, *channel;           /* rules, why, fetch */
    const char *from, *to, *format;          /* fetch; as written */
    int64_t last, limit, for_us;
    int64_t period_us;                       /* rules test */
    bool off, show, unmasked;
    const char *data, *model, *margin;       /* drift calibrate */
    bool steady;
    const char *db, *models, *calibration, *at, *event; /* explain */
    const char *label_column, *loss, *sure, *budget_bytes, *rtt, *ask, *asked, *normal, *false_alarms; /* cascade */
    int64_t top;
};
struct verb; /* a row of the table */
enum exit_code args_parse(int argc, char **argv, struct args *ret_args, const struct verb **ret_verb) MUST_CHECK;

enum exit_code status_verb(const struct args *args);
enum exit_code ledger_verb(const struct args *args);
enum exit_code tail_verb(const struct args *args);
enum exit_code dead_verb(const struct args *args);
enum exit_code rules_verb(const struct args *args);
enum exit_code why_verb(const struct args *args);
enum exit_code fetch_verb(const struct args *args);
enum exit_code bill_verb(const struct args *args);
enum exit_code uplink_verb(const struct args *args);
enum exit_code drift_verb(const struct args *args);
enum exit_code model_verb(const struct args *args);
enum exit_code explain_verb(const struct args *args);
enum exit_code cascade_verb(const struct args *args);
enum exit_code cascade_alarms(const struct args *args);
/* For both: a number of the command line, told when it is none; what went wrong, told. */
bool cascade_number(const char *flag, const char *text, double preset, double low, double high, double *ret_value);
enum exit_code cascade_exit(enum err err, const struct fault *fault);
/* One line about a gateway's uplink: the object of its /status. */
void uplink_sentence(const char *id, const cJSON *uplink, struct buffer *out);
/* rules show, rules shadow, rules kinds. */
enum exit_code rules_show(const struct args *args);
enum exit_code rules_shadow(const struct args *args);
enum exit_code rules_kinds(const struct args *args);

/* Writes out to stdout; false when nobody reads it any more. */
bool print_out(const struct buffer *out);
void print_message(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- docs.c: what the daemons said ---- */
struct doc {
    char *socket; /* owned; path */
    cJSON *json;  /* owned; an object, or NULL: fault says why */
    struct fault fault;
};
struct docs {
    struct doc *items; /* owned */
    size_t count;
};
void docs_deinit(struct docs *docs);
/* Every *.sock of the folder in name order, not asked yet. ERR_NOT_FOUND (no such folder), ERR_DENIED, ERR_IO. */
enum err docs_find(const char *run, struct docs *ret_docs, struct fault *reterr) MUST_CHECK;
/* Asks one; answers other than 200 and 404 are faults, 404 leaves json NULL with ERR_NOT_FOUND. */
void doc_ask(struct doc *doc, const char *target);
void docs_ask(struct docs *docs, const char *target);
enum err docs_add(struct docs *docs, const char *socket, struct doc **ret_doc) MUST_CHECK;
/* "/ledger?device=" with the device escaped; ERR_NOMEM. */
enum err target_for(const char *path, const char *device, char **ret_target) MUST_CHECK;

/* Members of daemons' documents; never NULL. */
const char *doc_text(const cJSON *object, const char *name);
/* A whole number 0..2^53 (what a double holds exactly); false when it is missing or something else. */
bool doc_u64(const cJSON *object, const char *name, uint64_t *ret_value);
uint64_t doc_u64_or_0(const cJSON *object, const char *name);
bool doc_is(const cJSON *object, const char *program);

/* Whole numbers of either sign. */
int64_t doc_i64_or_0(const cJSON *object, const char *name);

/* ---- gateways.c: which gateway is meant ---- */
struct gateways {
    struct docs docs;
    struct gateway_doc {
        char id[ID_MAX + 1];
        struct doc *doc; /* of docs; its last answer */
    } *items;            /* owned */
    size_t count;
};
void gateways_deinit(struct gateways *g);
/* Those that answer, or the one that --gateway names. Anything but EXIT_OK has been told, as with the next two. */
enum exit_code gateways_find(const struct args *args, struct gateways *ret_gateways) MUST_CHECK;
/* The only one: several are an error that names them. */
enum exit_code gateways_one(const struct args *args, struct gateways *ret_gateways,
                            struct gateway_doc **ret_one) MUST_CHECK;
/* Asks and tells what went wrong. */
enum exit_code gateway_ask(struct gateway_doc *gateway, const char *target) MUST_CHECK;
enum exit_code exit_of(enum err err);

/* ---- when.c: times as people write them ---- */
/* "10min"; false when it is no duration. */
bool to_duration(const char *text, int64_t *ret_us);
/* A date with or without a time (UTC unless it says otherwise), now, or -10min: so long before now. */
bool to_time(const char *text, int64_t now_us, int64_t *ret_us);
/* "2026-11-22T13:04:05.123456Z", without what is 0 at its end. */
struct stamp {
    char text[40];
} stamp_of(int64_t us);
/* "1.2 MB", for people. */
struct amount {
    char text[24];
} amount_of(double bytes);

/* ---- readings.c: what /fetch gives, as rows ---- */
struct readings {
    struct arena arena;
    char **names; /* owned; of the description in force */
    char **units;
    size_t channels;
    uint32_t set;
    bool fresh;   /* another description since the last row was told */
    int64_t *cells, *times; /* owned */
};
struct reading_row {
    int64_t time_us;
    const double *values; /* NaN = missing */
};
enum err readings_init(struct readings *r) MUST_CHECK;
void readings_deinit(struct readings *r);
/* One member of a page's records. fn false: no more. ERR_MALFORMED, ERR_NOMEM. */
enum err readings_take(struct readings *r, const cJSON *record, bool (*fn)(void *arg, const struct reading_row *row),
                       void *arg) MUST_CHECK;

/* ---- table.c: aligned text ---- */
enum paint { PAINT_NONE, PAINT_GOOD, PAINT_BAD };
struct table {
    const char *columns; /* one letter each: 'l' left, 'r' right */
    size_t width;        /* columns */
    struct cell {
        char *text; /* owned */
        enum paint paint;
    } *cells; /* owned; row by row */
    size_t count, cap;
    enum err err;
};
void table_deinit(struct table *table);
/* Adds the next cell; controls from outside become '?'. */
void table_add(struct table *table, enum paint paint, const char *fmt, ...) PRINTF_LIKE(3, 4);
void table_print(const struct table *table, bool color, struct buffer *out);
/* "45s", "12min", "2h03", "3d04h". */
void put_age(int64_t seconds, char *out, size_t size);

/* ---- status.c ---- */
/* One screen of /status documents. Pure. */
enum exit_code status_screen(const struct docs *docs, bool color, struct buffer *out);
enum exit_code status_json(const struct docs *docs, struct buffer *out);

/* ---- ledger.c ---- */
enum tier { TIER_DEVICE = 1, TIER_GATEWAY = 2, TIER_BRIDGE = 4 };
struct ledger_row {
    char device[ID_MAX + 1];
    uint64_t epoch;
    uint64_t lane;
    unsigned seen; /* tiers that named it */
    uint64_t read; /* the end of the log as the device says it, else the gateway, else the sink */
    uint64_t device_durable, gateway_top, gateway_hwm, sink_hwm, sink_top, records, readings, gaps, suppressed;
    bool closed, hop;
    uint64_t in_flight;
    bool balanced;
    char verdict[120];
};
struct ledger_hop { /* gateway -> parent, one lane */
    char gateway[ID_MAX + 1];
    uint64_t epoch, lane;
    bool has_sender, has_receiver;
    uint64_t durable, acked, hwm;
    bool balanced;
    char verdict[120];
};
struct ledger {
    const char *device; /* NULL = all */
    unsigned tiers;     /* that answered */
    struct ledger_row *rows;
    size_t count, cap;
    struct ledger_hop *hops;
    size_t hop_count, hop_cap;
    struct ledger_row total; /* balanced: all are; in_flight: sum */
    size_t unbalanced;
    char (*gateways)[ID_MAX + 1];
    size_t gateway_count, gateway_cap;
};
void ledger_deinit(struct ledger *ledger);
/* Adds one /ledger document. ERR_MALFORMED: nothing of it counts as said; ERR_NOMEM. */
enum err ledger_add(struct ledger *ledger, const cJSON *doc, struct fault *reterr) MUST_CHECK;
/* Sorts, judges, sums. No more documents afterwards. */
void ledger_close(struct ledger *ledger);
void ledger_print(const struct ledger *ledger, bool color, struct buffer *out);
void ledger_json(const struct ledger *ledger, const struct docs *docs, struct buffer *out);
/* settled: nothing may be in flight either. */
enum exit_code ledger_exit(const struct ledger *ledger, bool settled);
/* The order in which gateways must be asked so that numbers only grow: order[i] = index; parents before children. */
void ledger_gateway_depths(const struct docs *docs, unsigned *ret_depth);

/* ---- tail.c ---- */
/* Appends the readings of a /tail document as lines; *cursor moves to the last row; returns how many. ERR_MALFORMED. */
enum err tail_lines(const cJSON *doc, bool json, int64_t *cursor, struct buffer *out, size_t *ret_count) MUST_CHECK;

#endif
