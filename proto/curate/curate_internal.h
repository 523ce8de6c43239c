/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curate_internal - channels, their chains of operators, and the values on the way along them.
 *
 *   curate.c    records of every kind, what becomes of them
 *   input.c     Block -> series of each channel -> chain -> cells
 *   describe.c  Describe -> channels with chains; the rewritten Describe
 *   chain.c     one channel's values through its chain: the small operators
 *   door.c      swinging door
 *   capture.c   triggers -> ranges of raw rows
 *   windows.c   windows and merges: panes, closing; queue.c: closed windows on their way up
 *   spectrum.c  Fourier transform, energy per band
 *   output.c    what is left -> Block, Curated, Record
 *   state.c     stream <-> bytes
 *   times.c     the time that a record spans
 */
#ifndef PROTO_CURATE_CURATE_INTERNAL_H
#define PROTO_CURATE_CURATE_INTERNAL_H

#include "core/base/arena.h"
#include "core/base/cursor.h"
#include "core/sketch/sketch.h"
#include "proto/block/block.h"
#include "proto/curate/curate.h"

enum {
    ROWS_MAX = BLOCK_SAMPLES_MAX,
    ITEMS_MAX = ROWS_MAX + RULES_MAX, /* every operator may let go one value that it held */
    PANES_MAX = RULE_PANES_MAX,
    WANTED_MAX = 1024,                /* ranges that triggers of one record ask for */
    WINDOWS_RECORD_BYTES = 96 * 1024, /* of windows in one record; what does not fit waits */
    STREAM_BYTES = 256 * 1024,
    HASH_BITS = 52,
};
#define WALL_MAX (INT64_C(1) << 60)  /* us; no reading is later (36,000 years): then no state is beyond TIME_MAX */
#define TIME_MAX (INT64_C(1) << 61)  /* sums and differences of two stay in range */
#define STEP_BACK_US (10 * MINUTE_US) /* a clock that is set back, not a value that is late */

/* ---- values on their way ---- */
struct series { /* of one channel in one record, in the order of the rows */
    size_t count;
    int64_t t[ITEMS_MAX]; /* wall clock, us */
    double v[ITEMS_MAX];
    int32_t row[ITEMS_MAX]; /* -1: a row of its own */
    bool made[ITEMS_MAX];   /* not the value that its row came with */
};
static inline void series_put(struct series *s, int64_t t, double v, int32_t row, bool made)
{
    size_t i = s->count++;
    s->t[i] = t;
    s->v[i] = v;
    s->row[i] = row;
    s->made[i] = made;
}
static inline void series_keep(struct series *to, const struct series *from, size_t i)
{
    series_put(to, from->t[i], from->v[i], from->row[i], from->made[i]);
}

struct point {
    int64_t t;
    double v;
};

/* ---- operators: one rule on one channel ---- */
struct last { /* deadband, on-change */
    bool has;
    struct point kept;
};
struct rate {
    bool has;
    int64_t last, next;
};
struct door {
    bool has;
    struct point pivot, last; /* last goes out when the door closes, or is the pivot */
    double low, high;         /* slopes from the pivot that pass every value since, units per us */
    int32_t last_row;         /* in the record at hand; -1 = earlier */
    bool last_made;
};
struct downsample {
    uint64_t count; /* 0 = nothing held */
    int64_t bucket;
    double sum;
    struct point held;
    int32_t held_row;
    bool held_made;
};

struct pane { /* values of [start, start + every) */
    int64_t start;
    struct moments moments;
    struct sketch sketch; /* error 0: none */
    bool partial;         /* merge: one of the windows in it was */
    uint64_t late;        /* merge: sum */
    unsigned bands;       /* merge of spectra */
    double *band;         /* owned; sums weighted with the counts */
};
struct windows { /* settings are the rule's; copied, so that windows can close when the rule is gone */
    int64_t length, every, late;
    double error; /* of the sketches; 0 = none */
    bool has;     /* below holds; false before the first value */
    bool gap;     /* records are missing in front of the next value */
    int64_t newest, closed; /* windows that end at or before `closed` are closed */
    int64_t hole_from, hole_to; /* windows that touch what is between them are partial */
    uint64_t late_values;
    struct pane *panes; /* owned; by start */
    unsigned count, cap;
};
struct spectrum {
    unsigned count, samples;
    bool partial;
    int64_t first, last, shortest, longest; /* distances */
    double *values; /* owned; [samples] */
};

struct op {
    const struct rule *rule; /* NULL in a state of other rules */
    const char *name;        /* the rule's */
    int kind;
    double resolution; /* of the values that come in */
    union {
        struct last last;
        struct rate rate;
        struct door door;
        struct downsample down;
        struct windows windows; /* also of merge */
        struct spectrum spectrum;
    };
};

struct channel {
    char *name, *unit; /* owned; as described */
    double resolution;
    const struct rule *dropped_by; /* `drop` */
    const struct rule *made_by;    /* the last convert, hash or bucket */
    int out;                       /* index as it goes up; -1 = it does not */
    double out_resolution;
    const char *out_unit;          /* borrowed: unit, or a rule's */
    unsigned op_count;
    struct op *ops; /* owned */
};

struct held { /* a value that an operator of other rules had held back */
    unsigned channel;
    struct point point;
};

struct curate_stream {
    struct curate *curate; /* borrowed */
    char device[ID_MAX + 1];
    bool described, rewritten;
    uint32_t set, out_set;
    uint32_t told;             /* the set that the last description that went up had; 0 = none */
    struct buffer describe;    /* Describe message as it came */
    unsigned channel_count, out_count;
    struct channel *channels;  /* owned */
    int64_t wall_us, mono_us;  /* of the block before, of this boot; mono 0 = none */
    bool has_row;              /* cells hold the last row of the last block */
    int64_t cells[BLOCK_CHANNELS_MAX];
    struct captured {          /* by rule: the range asked for last; to 0 = none */
        int64_t from, to;
    } captured[RULES_MAX];
    struct buffer queue;       /* closed windows: set u32le, length u32le, Window message */
    struct held *held;         /* owned */
    size_t held_count;
};

/* ---- the curate: rules and scratch ---- */
struct extra {
    int64_t t, cell;
    unsigned channel, order;
};
struct curate {
    const struct rules *rules;
    uint8_t *key; /* owned */
    size_t key_len, stream_bytes;
    struct curate_rule_stats stats[RULES_MAX];

    /* of one record */
    struct arena arena;
    size_t rows;
    unsigned columns_in; /* that it came with; the description may name more, of which there are only windows */
    int64_t wall_us, mono_us, period_us; /* of the block; period 0 = uneven */
    int quality;
    int64_t times[ROWS_MAX];
    int64_t *cells; /* [channels][rows] */
    double resolutions[BLOCK_CHANNELS_MAX];
    bool changed;   /* some value is gone or new */
    uint64_t dropped[RULES_MAX], altered[RULES_MAX];
    int64_t taken[RULES_MAX]; /* values in less values out */
    uint64_t released;        /* values of rules before */
    bool *same[RULES_MAX]; /* dedupe rules: [ROWS_MAX]: the row equals the one before; owned */
    struct series series[2];
    int64_t column[ROWS_MAX];
    struct extra *extras; /* owned */
    size_t extra_count, extra_cap;
    struct wanted {
        const struct rule *rule;
        int64_t from, to;
    } wanted[WANTED_MAX];
    size_t wanted_count;
    struct curate_capture captures[CURATE_CAPTURES_MAX];
    size_t capture_count, capture_share, capture_room; /* share: ranges of each rule; room: of the one in hand */

    /* output */
    int64_t *out_cells;
    int64_t out_times[ROWS_MAX];
    int32_t out_rows[ROWS_MAX];
    struct buffer columns, deltas, body, record;

    /* spectrum */
    double sine[RULE_SPECTRUM_SAMPLES_MAX / 2], cosine[RULE_SPECTRUM_SAMPLES_MAX / 2];
    double re[RULE_SPECTRUM_SAMPLES_MAX], im[RULE_SPECTRUM_SAMPLES_MAX];
};

/* ---- describe.c ---- */
bool is_private(int kind); /* drop, hash, bucket */
/* The first privacy rule that could be for a channel of the device (NULL: of any channel). */
const struct rule *private_rule(const struct curate *c, const char *device, const char *channel);
/* Takes the description over; operators of channels that stay what they were keep their state, windows of the others
 * are closed as partial. ERR_MALFORMED, ERR_NOMEM. */
enum err stream_describe(struct curate *c, struct curate_stream *s, const Weir__V1__Describe *describe) MUST_CHECK;
/* *ret_describe: in the curate's arena. */
enum err stream_described(struct curate *c, const struct curate_stream *s,
                          Weir__V1__Describe **ret_describe) MUST_CHECK;
void channels_free(struct channel *channels, unsigned count);
void op_deinit(struct op *op);
double fit_resolution(double wanted);

/* ---- input.c ---- */
/* Rows' times, columns; false when they do not fit the description. */
bool input_block(struct curate *c, const struct curate_stream *s, const Weir__V1__Block *b);
/* For every dedupe rule: the rows that equal the one before in all channels that it is for. */
void input_repeats(struct curate *c, struct curate_stream *s);
/* What operators of other rules had held back becomes extras. */
enum err input_release(struct curate *c, struct curate_stream *s) MUST_CHECK;
/* Every channel's values through its chain. state NULL: faces only. */
enum err input_run(struct curate *c, struct channel *channels, unsigned count, struct curate_stream *state) MUST_CHECK;
/* A cell for a row of its own. */
enum err input_extra(struct curate *c, unsigned channel, int64_t t, int64_t cell) MUST_CHECK;

/* ---- chain.c ---- */
struct run {
    struct curate *c;
    struct curate_stream *s; /* NULL: faces only (convert, hash, bucket), no state, no counts */
    struct channel *channel;
    struct series *in, *out;
};
static inline void run_swap(struct run *r)
{
    struct series *t = r->in;
    r->in = r->out;
    r->out = t;
}
/* Sends the block's column through the channel's chain; r->in is the result. */
enum err chain_run(struct run *r) MUST_CHECK;
/* Tells operators that hold rows of the record at hand that it is over. */
void chain_forget_rows(struct channel *channel);
double snap(double value, double resolution); /* to a multiple; NaN when there is none */
enum err door_step(struct run *r, struct op *op) MUST_CHECK;
/* Where the line ends that goes up if the door closes now, on every bound that it promised. */
struct point door_end(const struct door *d, double resolution);
enum err windows_step(struct run *r, struct op *op) MUST_CHECK;
enum err spectrum_step(struct run *r, struct op *op) MUST_CHECK;

/* ---- capture.c ---- */
enum err capture_step(struct run *r, struct op *op) MUST_CHECK;
/* At the end of a record: what is wanted and was not asked for before -> captures. */
void captures_settle(struct curate *c, struct curate_stream *s);

/* ---- windows.c, queue.c ---- */
struct closed { /* a window on its way up */
    int64_t start, length;
    struct moments moments;
    const struct sketch *sketch; /* NULL = none */
    const double *band;
    unsigned bands;
    bool partial;
    uint64_t late;
};
void windows_init(struct windows *w, const struct rule *rule);
void windows_deinit(struct windows *w);
size_t windows_bytes(const struct windows *w);
/* Closes every open window, as partial. */
enum err windows_finish(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op) MUST_CHECK;
/* The clock was set by so much: if by more than a window is long, the open ones are as full as they get. */
enum err windows_clock_set(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op,
                           int64_t by_us) MUST_CHECK;
/* Makes the oldest open windows close, as partial. */
enum err windows_shorten(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op) MUST_CHECK;
/* Takes a window that came from below or was closed here. */
enum err windows_merge(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op,
                       const struct closed *closed) MUST_CHECK;
void windows_encode(const struct windows *w, struct buffer *out);
enum err windows_decode(struct cursor *in, struct windows *w) MUST_CHECK;

/* A merge rule takes it, or it is queued. rule: NULL when it is gone. */
enum err queue_window(struct curate *c, struct curate_stream *s, struct channel *channel, const struct rule *rule,
                      const char *name, const struct closed *closed) MUST_CHECK;
/* A window message as it came, for a set. */
enum err queue_message(struct curate *c, struct curate_stream *s, uint32_t set,
                       const Weir__V1__Window *window) MUST_CHECK;
/* The longest run of one set that fits; appended to out as Curated.window fields. *ret_taken: bytes of the queue. */
void queue_peek(const struct curate_stream *s, size_t max_bytes, uint32_t *ret_set, size_t *ret_taken,
                struct buffer *out);
void queue_drop(struct curate_stream *s, size_t taken);
/* Whether the bytes are entries. */
bool queue_valid(struct slice queue);
/* Sketches, then the oldest windows go until the stream is within its bound. */
enum err stream_bound(struct curate *c, struct curate_stream *s) MUST_CHECK;

/* ---- spectrum.c ---- */
void spectrum_tables(struct curate *c);
/* band[i] = mean square of the values between the rule's frequencies (one-sided; Parseval). */
void spectrum_bands(struct curate *c, const double *values, unsigned count, double rate_hz, const double (*range)[2],
                    unsigned bands, double *band);

/* ---- output.c ---- */
struct left { /* of a block */
    bool any;         /* false: no value is left */
    bool made;        /* by output_block; else it is one that came */
    Weir__V1__Block block; /* any: bytes are the curate's */
};
enum err output_block(struct curate *c, const struct curate_stream *s, struct left *ret_left) MUST_CHECK;
/* Half of the rows, for a block that would not fit a record: values that need more digits than the sensor's gave. */
enum err output_shrink(struct curate *c, const struct curate_stream *s, struct left *left) MUST_CHECK;
/* The description that goes up now is not the one that went up last. */
static inline bool stream_untold(const struct curate_stream *s)
{
    return s->described && s->told != s->out_set;
}
/* The record in c->record: Curated{block, the description if it is untold, as many windows as fit}. Takes them off the
 * queue (s NULL: neither description nor windows). */
enum err output_curated(struct curate *c, struct curate_stream *s, const Weir__V1__Block *block, const char *capture,
                        bool *ret_any) MUST_CHECK;

#endif
