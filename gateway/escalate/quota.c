/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quota: a bucket of one second's worth of asks per device, so that a device gone wild takes nothing from the others. A
 * device behind a gateway below has its own, under that gateway's name. Who asked nothing for a second is forgotten
 * when room is needed; its bucket was full.
 */
#include "gateway/escalate/escalate_internal.h"

static uint64_t key_of(const struct escalate *e, const char *peer, const struct wire_ask *ask)
{
    const char *const names[] = {peer, ask->site, ask->gateway, ask->device};
    uint64_t key = 0;
    for (size_t i = 0; i < (escalate_is_gateway(e, peer) ? COUNT_OF(names) : 1); i++) {
        for (const char *c = names[i]; *c != '\0'; c++) {
            key = mix_u64(key + (unsigned char)*c);
        }
        key = mix_u64(key);
    }
    return key;
}

static void forget_idle(struct escalate *e, int64_t now_us)
{
    for (unsigned i = 0; i < ESCALATE_BUCKETS; i++) {
        for (struct escalate_account **at = &e->accounts[i]; *at != NULL;) {
            struct escalate_account *a = *at;
            if (now_us - a->at_us < SECOND_US) {
                at = &a->hash_next;
                continue;
            }
            *at = a->hash_next;
            e->account_count--;
            free(a);
        }
    }
}

static struct escalate_account *account(struct escalate *e, uint64_t key, int64_t now_us)
{
    struct escalate_account **bucket = &e->accounts[key % ESCALATE_BUCKETS];
    for (struct escalate_account *a = *bucket; a != NULL; a = a->hash_next) {
        if (a->key == key) {
            return a;
        }
    }
    if (e->account_count >= ESCALATE_ACCOUNTS_MAX) {
        forget_idle(e, now_us);
    }
    struct escalate_account *a = e->account_count < ESCALATE_ACCOUNTS_MAX ? calloc(1, sizeof(*a)) : NULL;
    if (a != NULL) {
        *a = (struct escalate_account){.key = key, .tokens = e->plan->s.quota, .at_us = now_us, .hash_next = *bucket};
        *bucket = a;
        e->account_count++;
    }
    return a;
}

bool escalate_admit(struct escalate *e, const char *peer, const struct wire_ask *ask)
{
    double quota = e->plan->s.quota;
    int64_t now_us = loop_now_us(e->loop);
    if (e->plan->s.quota == 0) {
        return true;
    }
    struct escalate_account *a = account(e, key_of(e, peer, ask), now_us);
    if (a == NULL) {
        return false; /* 65,536 ask within a second, or there is no memory */
    }
    a->tokens += (double)(now_us - a->at_us) / SECOND_US * quota;
    a->tokens = a->tokens > quota ? quota : a->tokens;
    a->at_us = now_us;
    if (a->tokens < 1) {
        return false;
    }
    a->tokens -= 1;
    return true;
}

void escalate_accounts_free(struct escalate *e)
{
    forget_idle(e, INT64_MAX);
}
