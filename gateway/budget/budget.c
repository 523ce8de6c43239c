/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bucket and the ages: sliding sums over a few slots, and the marks of how far a lane had come when.
 */
#include "gateway/budget/budget.h"

#include "gateway/budget/budget_internal.h"

enum { STEPS = 30, MARK_STEPS = 48, OVERSIZE_SHARE = 8, LEASE_SHARE = 64 };
enum { SEGMENT = 1400, SEGMENT_HEAD = 52, TLS_RECORD = 16384, TLS_HEAD = 29, CONNECT_SEGMENTS = 10, HANDSHAKE = 5500 };

int64_t budget_clock(struct budget *b, int64_t now_us)
{
    if (now_us > b->now_us) {
        b->clock_us += now_us - b->now_us;
        b->now_us = now_us;
    }
    return b->clock_us;
}

void budget_init(struct budget *b, const struct budget_rules *rules, int64_t now_us)
{
    *b = (struct budget){.rules = *rules, .now_us = now_us, .clock_us = 1};
}

void budget_set(struct budget *b, const struct budget_rules *rules)
{
    b->rules = *rules;
}

/* ---- bytes ---- */
static void forget_slots(struct budget *b, int64_t clock_us)
{
    size_t gone = 0;
    while (gone < b->slots && b->slot[gone].at_us + b->rules.period_us <= clock_us) {
        gone++;
    }
    if (gone > 0) {
        b->slots -= gone;
        memmove(b->slot, b->slot + gone, b->slots * sizeof(b->slot[0]));
    }
}

/* The two oldest become one, with the later one's time: it comes back later than it could, never earlier. */
static void merge_oldest(struct budget *b)
{
    b->slot[1].bytes[0] += b->slot[0].bytes[0];
    b->slot[1].bytes[1] += b->slot[0].bytes[1];
    b->slots--;
    memmove(b->slot, b->slot + 1, b->slots * sizeof(b->slot[0]));
}

/* A slot's first byte is at most a step older than its last one. */
void budget_put(struct budget *b, unsigned lane, uint64_t bytes)
{
    if (bytes == 0) {
        return;
    }
    int64_t step_us = b->rules.period_us / STEPS;
    struct budget_slot *s = b->slots > 0 ? &b->slot[b->slots - 1] : NULL;
    if (s == NULL || b->clock_us / max_i64(step_us, 1) != s->at_us / max_i64(step_us, 1)) {
        if (b->slots == BUDGET_SLOTS) {
            merge_oldest(b);
        }
        s = &b->slot[b->slots++];
        *s = (struct budget_slot){.at_us = b->clock_us};
    }
    s->at_us = b->clock_us;
    s->bytes[lane] += bytes;
}

static void sum(const struct budget *b, size_t from, uint64_t ret_bytes[BUDGET_LANES])
{
    ret_bytes[0] = ret_bytes[1] = 0;
    for (size_t i = from; i < b->slots; i++) {
        ret_bytes[0] += b->slot[i].bytes[0];
        ret_bytes[1] += b->slot[i].bytes[1];
    }
}

static uint64_t alarm_share(const struct budget_rules *rules)
{
    return rules->bytes / 100 * rules->alarm_pct + rules->bytes % 100 * rules->alarm_pct / 100;
}

/* With the slots from `from` on. */
static uint64_t left(const struct budget *b, unsigned lane, size_t from)
{
    uint64_t spent[BUDGET_LANES];
    sum(b, from, spent);
    uint64_t share = alarm_share(&b->rules);
    uint64_t kept = lane == 0 || spent[0] >= share ? 0 : share - spent[0];
    uint64_t used = spent[0] + spent[1] + kept;
    return used < b->rules.bytes ? b->rules.bytes - used : 0;
}

static uint64_t wanted(const struct budget *b, unsigned lane, uint64_t bytes)
{
    uint64_t share = lane == 0 ? b->rules.bytes : b->rules.bytes - alarm_share(&b->rules);
    return max_u64(min_u64(bytes, share / OVERSIZE_SHARE), 1);
}

enum err budget_may(struct budget *b, unsigned lane, uint64_t bytes, int64_t now_us, int64_t *ret_wait_us)
{
    int64_t clock_us = budget_clock(b, now_us);
    if (b->rules.bytes == 0) {
        return OK;
    }
    forget_slots(b, clock_us);
    uint64_t want = wanted(b, lane, bytes);
    for (size_t from = 0; from <= b->slots; from++) {
        if (left(b, lane, from) < want) {
            continue;
        }
        if (from > 0) {
            *ret_wait_us = b->slot[from - 1].at_us + b->rules.period_us - clock_us;
            return ERR_AGAIN;
        }
        return lane == 0 || b->charged + bytes <= b->lease_end ? OK : ERR_FULL;
    }
    *ret_wait_us = b->rules.period_us; /* alarms keep it all */
    return ERR_AGAIN;
}

void budget_spend(struct budget *b, unsigned lane, uint64_t bytes, int64_t now_us)
{
    (void)budget_clock(b, now_us);
    b->charged += bytes;
    if (b->rules.bytes > 0) {
        forget_slots(b, b->clock_us);
        budget_put(b, lane, bytes);
    }
}

uint64_t budget_spent(struct budget *b, int64_t now_us)
{
    uint64_t spent[BUDGET_LANES];
    forget_slots(b, budget_clock(b, now_us));
    sum(b, 0, spent);
    return spent[0] + spent[1];
}

uint64_t budget_left(struct budget *b, unsigned lane, int64_t now_us)
{
    forget_slots(b, budget_clock(b, now_us));
    return b->rules.bytes > 0 ? left(b, lane, 0) : UINT64_MAX;
}

uint64_t budget_lease(const struct budget *b, uint64_t bytes)
{
    return b->rules.bytes == 0 ? 0 : max_u64(b->rules.bytes / LEASE_SHARE, bytes);
}

void budget_all_spent(struct budget *b, int64_t now_us)
{
    uint64_t share = alarm_share(&b->rules);
    (void)budget_clock(b, now_us);
    b->slots = 0;
    budget_put(b, 0, share);
    budget_put(b, 1, b->rules.bytes - share);
}

/* ---- ages ---- */
static int64_t mark_step_us(const struct budget *b, unsigned lane)
{
    return max_i64(b->rules.ttl_us[lane] / MARK_STEPS, 1);
}

/* Every other one: what is kept stays true. The newest stays. */
static void thin(struct budget_ages *a)
{
    size_t kept = 0;
    for (size_t i = 1; i < a->count; i += 2) {
        a->mark[kept++] = a->mark[i];
    }
    a->count = kept;
}

bool budget_note(struct budget *b, unsigned lane, uint64_t epoch, uint64_t durable, int64_t now_us)
{
    struct budget_ages *a = &b->ages[lane];
    int64_t clock_us = budget_clock(b, now_us);
    if (a->epoch != epoch) {
        *a = (struct budget_ages){.epoch = epoch};
    }
    if (b->rules.ttl_us[lane] == 0 || (a->count > 0 && a->mark[a->count - 1].number >= durable) || durable == 0 ||
        (a->count > 0 && clock_us < a->mark[a->count - 1].at_us + mark_step_us(b, lane))) {
        return false;
    }
    /* expired ones say no more than the newest of them */
    size_t gone = 0;
    while (gone + 1 < a->count && a->mark[gone + 1].at_us + b->rules.ttl_us[lane] < clock_us) {
        gone++;
    }
    a->count -= gone;
    memmove(a->mark, a->mark + gone, a->count * sizeof(a->mark[0]));
    if (a->count == BUDGET_MARKS) {
        thin(a);
    }
    a->mark[a->count++] = (struct budget_mark){.at_us = clock_us, .number = durable};
    return true;
}

void budget_rebased(struct budget *b, unsigned lane, uint64_t epoch, uint64_t keep_above)
{
    struct budget_ages *a = &b->ages[lane];
    size_t kept = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (a->mark[i].number > keep_above) {
            a->mark[kept] = a->mark[i];
            a->mark[kept++].number -= keep_above;
        }
    }
    a->count = kept;
    a->epoch = epoch;
}

uint64_t budget_expired(struct budget *b, unsigned lane, int64_t now_us)
{
    const struct budget_ages *a = &b->ages[lane];
    int64_t clock_us = budget_clock(b, now_us);
    uint64_t number = 0;
    for (size_t i = 0; i < a->count && b->rules.ttl_us[lane] > 0; i++) {
        if (a->mark[i].at_us + b->rules.ttl_us[lane] < clock_us) {
            number = a->mark[i].number;
        }
    }
    return number;
}

int64_t budget_age_us(struct budget *b, unsigned lane, uint64_t number, int64_t now_us)
{
    const struct budget_ages *a = &b->ages[lane];
    int64_t clock_us = budget_clock(b, now_us);
    for (size_t i = 0; i < a->count; i++) {
        if (a->mark[i].number >= number) {
            return clock_us - a->mark[i].at_us;
        }
    }
    return 0;
}

/* ---- the link ---- */
uint64_t budget_publish_bytes(size_t topic, size_t payload)
{
    uint64_t remaining = 2 + (uint64_t)topic + payload; /* MQTT 3.1.1, section 2.2.3: 7 bits a byte */
    return 1 + (remaining < 128 ? 1 : remaining < 16384 ? 2 : remaining < 2097152 ? 3 : 4) + remaining;
}

uint64_t budget_packet_overhead(uint64_t mqtt_bytes, bool tls)
{
    if (mqtt_bytes == 0) {
        return 0;
    }
    uint64_t sealed = mqtt_bytes + (tls ? (mqtt_bytes + TLS_RECORD - 1) / TLS_RECORD * TLS_HEAD : 0);
    uint64_t segments = (sealed + SEGMENT - 1) / SEGMENT;
    return sealed - mqtt_bytes + (segments + (segments + 1) / 2) * SEGMENT_HEAD;
}

uint64_t budget_connect_overhead(bool tls)
{
    return CONNECT_SEGMENTS * SEGMENT_HEAD + (tls ? HANDSHAKE : 0);
}
