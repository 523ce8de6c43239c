/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every record by its bytes. A record's numbers change when an old image is found out, and two histories of one device
 * may give the same number to different records; its bytes (times and values) are its own all the way. So this finds
 * what numbers cannot show: a record delivered under two epochs, and one that was taken for another.
 *
 * In: what device disks take in and lose, what the sink accepts. A hash of owner and bytes stands for the record: open
 * addressing, linear probing, no removal.
 */
#include "core/base/cursor.h"
#include "simulators/world/world_internal.h"

enum { FIRST_SLOTS = 1024, GONE = 1, DELIVERED = 2, DECLARED = 4 };

struct slot {
    uint64_t key; /* 0 = free */
    uint32_t puts; /* times that it became durable and was not taken back */
    uint16_t owner;
    uint8_t flags;
};
struct ledger {
    struct slot *slots; /* owned */
    size_t count, cap;  /* cap is a power of two */
};

enum err ledger_new(struct ledger **ret_ledger)
{
    struct ledger *l = calloc(1, sizeof(*l));
    struct slot *slots = calloc(FIRST_SLOTS, sizeof(*slots));
    if (l == NULL || slots == NULL) {
        free(l);
        free(slots);
        return ERR_NOMEM;
    }
    *l = (struct ledger){.slots = slots, .cap = FIRST_SLOTS};
    *ret_ledger = l;
    return OK;
}

void ledger_free(struct ledger *l)
{
    if (l != NULL) {
        free(l->slots);
        free(l);
    }
}

static struct slot *probe(struct slot *slots, size_t cap, uint64_t key)
{
    size_t at = key & (cap - 1);
    while (slots[at].key != 0 && slots[at].key != key) {
        at = (at + 1) & (cap - 1);
    }
    return &slots[at];
}

static void grow(struct ledger *l)
{
    size_t cap = 2 * l->cap;
    struct slot *slots = calloc(cap, sizeof(*slots));
    if (slots == NULL) {
        abort(); /* a checker that cannot count must not go on */
    }
    for (size_t i = 0; i < l->cap; i++) {
        if (l->slots[i].key != 0) {
            *probe(slots, cap, l->slots[i].key) = l->slots[i];
        }
    }
    free(l->slots);
    l->slots = slots;
    l->cap = cap;
}

uint64_t ledger_key(unsigned owner, struct slice record)
{
    uint64_t key = checks_hash(owner + 1, record);
    return key ? key : 1;
}

static struct slot *slot_at(struct ledger *l, unsigned owner, uint64_t key)
{
    if (2 * l->count >= l->cap) {
        grow(l);
    }
    struct slot *s = probe(l->slots, l->cap, key);
    if (s->key == 0) {
        s->key = key;
        s->owner = (uint16_t)owner;
        l->count++;
    }
    return s;
}

static struct slot *slot_of(struct ledger *l, unsigned owner, struct slice record)
{
    return slot_at(l, owner, ledger_key(owner, record));
}

/* Field numbers of Record (proto/schema/weir.proto): the kind follows schema and span. */
enum { FIELD_BLOCK = 10, FIELD_HEALTH = 12, FIELD_GAP = 13, FIELD_SUPPRESSED = 14, FIELD_CURATED = 16 };

static uint64_t kind_of(struct slice record)
{
    struct cursor c = cursor_of(record);
    while (!c.failed && cursor_left(&c) > 0) {
        uint64_t tag = cursor_varint(&c);
        if ((tag & 7) != 0) {
            return tag >> 3;
        }
        (void)cursor_varint(&c);
    }
    return 0;
}

bool ledger_counts(struct slice record)
{
    uint64_t kind = kind_of(record);
    return kind >= FIELD_BLOCK && kind <= FIELD_HEALTH;
}

bool ledger_is_range(struct slice record)
{
    uint64_t kind = kind_of(record);
    return kind == FIELD_GAP || kind == FIELD_SUPPRESSED;
}

bool ledger_is_curated(struct slice record)
{
    return kind_of(record) == FIELD_CURATED;
}

void ledger_durable(struct ledger *l, unsigned owner, struct slice record)
{
    struct slot *s = slot_of(l, owner, record);
    s->puts++;
    s->flags &= (uint8_t)~GONE;
}

void ledger_undone(struct ledger *l, unsigned owner, struct slice record)
{
    struct slot *s = slot_of(l, owner, record);
    s->puts -= s->puts > 0;
}

void ledger_gone(struct ledger *l, unsigned owner, struct slice record)
{
    slot_of(l, owner, record)->flags |= GONE;
}

bool ledger_delivered(struct ledger *l, unsigned owner, struct slice record)
{
    struct slot *s = slot_of(l, owner, record);
    bool first = (s->flags & DELIVERED) == 0;
    s->flags |= DELIVERED;
    return first;
}

void ledger_declared(struct ledger *l, unsigned owner, uint64_t key)
{
    slot_at(l, owner, key)->flags |= DECLARED;
}

void ledger_account(const struct ledger *l, struct ledger_account *accounts, size_t owners)
{
    memset(accounts, 0, owners * sizeof(*accounts));
    for (size_t i = 0; i < l->cap; i++) {
        const struct slot *s = &l->slots[i];
        if (s->key != 0 && s->owner < owners) {
            accounts[s->owner].missing += s->puts > 0 && s->flags == 0;
            accounts[s->owner].phantom += s->puts == 0 && (s->flags & DELIVERED) != 0;
        }
    }
}
