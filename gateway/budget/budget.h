/* SPDX-License-Identifier: Apache-2.0 */
/*
 * budget - how much the uplink may cost, when it may talk, how long a record is worth sending, and what it was spent
 * on. Pure: times and bytes come in, decisions go out; gateway/uplink (meter.c) asks and keeps the state in its store.
 *
 * Clock. Every time here is on the budget's own clock: monotonic time while the program runs, and while the machine
 * runs (boot_id: it is the same boot that wrote the record). Time in which the machine was off counts as nothing, so no
 * wall clock, whatever it says, gives a budget back or expires a record. When the machine goes down hard, what has
 * passed since the last record of the state (a second under load, else a minute) counts as nothing as well.
 *
 * Bytes. A budget is `bytes` in any span of `period`: what is spent comes back one period later (in steps of a
 * thirtieth), so no span of a period costs more, whenever it begins. The bulk lane may spend what is left above the
 * alarms' share; alarms may spend everything. What cannot be asked for (acks, pings, handshakes) is charged when it has
 * happened.
 *   left(alarm) = bytes - spent
 *   left(bulk)  = left(alarm) - what alarms have not yet used of their share
 * A frame goes if it fits into what is left. One larger than an eighth of the lane's share goes when an eighth is left,
 * and is then owed: else an entry above the budget's size would stand in the way for ever.
 *
 * Lease. The state is durable before it is used: a record says "spent so far, and this much on top". The bulk lane
 * never goes beyond what is durable; after a crash the whole lease counts as spent. So crashes, however many, cost
 * budget and never give any.
 *
 * What a byte is. MQTT bytes in both directions are counted as the bus counts them. The link below is estimated:
 *   a packet of n MQTT bytes   ceil(n / 1400) segments of 52 bytes of headers (IPv4 20, TCP with timestamps 32), and
 *                              one ACK of 52 bytes back for every two segments; with TLS 29 bytes for each 16 KiB
 *   a connection               10 segments without data; with TLS 5,500 bytes of handshake (certificates both ways)
 * Packets that share a segment make it cheaper, link layers (PPP, Ethernet, a VPN) dearer.
 *
 * Age. A mark says: by this time the lane had come to this number. What stands at or below a mark is at least as old as
 * it; marks are a 48th of the time to live apart. So an entry expires up to that much late, never early.
 */
#ifndef GATEWAY_BUDGET_BUDGET_H
#define GATEWAY_BUDGET_BUDGET_H

#include "core/base/base.h"
#include "core/base/buffer.h"

enum { BUDGET_LANES = 2, BUDGET_SPANS_MAX = 8, BUDGET_SLOTS = 32, BUDGET_MARKS = 64 };

/* ---- what the operator wants ---- */
enum budget_when { BUDGET_ALWAYS, BUDGET_IN_WINDOWS, BUDGET_ON_REQUEST };
struct budget_span {
    unsigned from_min, to_min; /* of the local day, 0..1440; to below from: over midnight */
};
struct budget_rules {   /* zeros: no bounds at all */
    uint64_t bytes;     /* 0 = no budget */
    int64_t period_us;  /* > 0 with a budget */
    unsigned alarm_pct; /* share of the bytes that only alarms may spend */
    enum budget_when when;
    struct budget_span spans[BUDGET_SPANS_MAX];
    size_t span_count;
    bool alarms_wait;             /* alarms, too, wait for a window */
    int64_t ttl_us[BUDGET_LANES]; /* 0 = for ever */
    bool tls;                     /* for the estimate of the link's bytes */
};
/* "always", "on-request", or "02:00-03:00, 22:30-00:30". ERR_RANGE with a sentence; ret_rules is then unchanged. */
enum err budget_when_parse(const char *text, struct budget_rules *ret_rules, struct fault *reterr) MUST_CHECK;
/* Is it open at this second of the local day, and in how many seconds does that change? -1 = never by itself. */
bool budget_open(const struct budget_rules *rules, unsigned second_of_day, int64_t *ret_changes_in_s);

/* ---- what it is spent on ---- */
enum bill_purpose {
    BILL_ALARMS,
    BILL_LIVE,    /* records as they came */
    BILL_CURATED, /* records that rules have shaped */
    BILL_WINDOWS, /* aggregates only */
    BILL_CAPTURES,
    BILL_DECLARATIONS, /* gaps, suppressed ranges */
    BILL_REPEATS,      /* whatever was sent before */
    BILL_PROTOCOL,     /* frames' and packets' heads, acks, sessions, signs of life */
    BILL_LINK,         /* estimated: below MQTT */
    BILL_PURPOSES
};
const char *bill_purpose_name(enum bill_purpose purpose);
enum bill_span { BILL_TODAY, BILL_MONTH, BILL_EVER, BILL_SPANS };
struct bill_line {
    uint64_t records, bytes;
};
struct bill {
    uint32_t date; /* that today is: yyyymmdd, local; 0 = nothing was counted yet */
    struct bill_line line[BILL_SPANS][BILL_PURPOSES];
};
void bill_add(struct bill *bill, enum bill_purpose purpose, uint64_t records, uint64_t bytes);
/* Another day (month) begins: its lines are zero. For people only: nothing is decided by it. */
void bill_date(struct bill *bill, uint32_t date);
uint64_t bill_sum(const struct bill *bill, enum bill_span span);
/* record: of a Forward, as proto/schema has it; what cannot be read is live (lane 1) or an alarm (lane 0). */
enum bill_purpose bill_purpose_of(unsigned lane, struct slice record);

/* ---- the state ---- */
struct budget_slot {
    int64_t at_us; /* of the last byte in it */
    uint64_t bytes[BUDGET_LANES];
};
struct budget_mark {
    int64_t at_us;
    uint64_t number;
};
struct budget_ages {
    uint64_t epoch; /* of the lane */
    size_t count;
    struct budget_mark mark[BUDGET_MARKS]; /* oldest first; both rise */
};
struct budget {
    struct budget_rules rules;
    int64_t clock_us, now_us;              /* our clock, and the monotonic time at which it read so */
    struct budget_slot slot[BUDGET_SLOTS]; /* oldest first */
    size_t slots;
    struct budget_ages ages[BUDGET_LANES];
    struct bill bill;
    uint64_t charged;   /* in this start */
    uint64_t lease_end; /* of `charged`: what is durable covers up to here */
};
void budget_init(struct budget *b, const struct budget_rules *rules, int64_t now_us);
/* Other rules from now on: what was spent stays spent. */
void budget_set(struct budget *b, const struct budget_rules *rules);

/* May so many bytes go now? ERR_AGAIN: *ret_wait_us later, or earlier when alarms use less (no bound but time frees
 * bytes); ERR_FULL: the lease is used up, write the state first. */
enum err budget_may(struct budget *b, unsigned lane, uint64_t bytes, int64_t now_us, int64_t *ret_wait_us) MUST_CHECK;
/* They have gone. */
void budget_spend(struct budget *b, unsigned lane, uint64_t bytes, int64_t now_us);
uint64_t budget_spent(struct budget *b, int64_t now_us);
uint64_t budget_left(struct budget *b, unsigned lane, int64_t now_us);
/* How much a lease should be that lets `bytes` go next. */
uint64_t budget_lease(const struct budget *b, uint64_t bytes);

/* The lane's highest durable number now. A new epoch forgets the marks. True: the state has changed. */
bool budget_note(struct budget *b, unsigned lane, uint64_t epoch, uint64_t durable, int64_t now_us);
/* The lane began a new epoch with what stood above keep_above, renumbered from 1. */
void budget_rebased(struct budget *b, unsigned lane, uint64_t epoch, uint64_t keep_above);
/* Everything up to it (0 = nothing) is older than its lane's time to live. */
uint64_t budget_expired(struct budget *b, unsigned lane, int64_t now_us);
/* How old the entry with this number is at least. */
int64_t budget_age_us(struct budget *b, unsigned lane, uint64_t number, int64_t now_us);

/* ---- the model of the link ---- */
uint64_t budget_publish_bytes(size_t topic, size_t payload); /* of a PUBLISH at QoS 0 */
uint64_t budget_packet_overhead(uint64_t mqtt_bytes, bool tls);
uint64_t budget_connect_overhead(bool tls);

/* ---- the record ----
 * version u8 = 1 | boot_id u64le | varints: clock, now, slots, marks, bill | crc32c u32le. With lease on top of what
 * was spent. */
enum { BUDGET_RECORD_MAX = 8192 };
enum err budget_encode(struct budget *b, uint64_t boot_id, uint64_t lease, int64_t now_us,
                       struct buffer *out) MUST_CHECK;
/* Into one that was just made. boot_id 0 = not known. ERR_MALFORMED: damaged, nothing is taken; the caller must then
 * assume that all was spent (budget_all_spent). ERR_UNSUPPORTED: a later version. */
enum err budget_decode(struct budget *b, struct slice record, uint64_t boot_id, int64_t now_us) MUST_CHECK;
void budget_all_spent(struct budget *b, int64_t now_us);

#endif
