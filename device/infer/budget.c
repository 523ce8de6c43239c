/* SPDX-License-Identifier: Apache-2.0 */
/* A credit that fills evenly with time. */
#include "device/infer/infer_internal.h"

enum { SAVED_PART = 24 };

void credit_init(struct credit *c, double amount, int64_t span_us, double most, int64_t now_us)
{
    *c = (struct credit){
        .left = most, .most = most, .per_us = amount / (double)span_us, .at_us = now_us, .bounded = amount > 0};
}

void credit_init_day(struct credit *c, double amount, double least, int64_t now_us)
{
    double most = amount / SAVED_PART > least ? amount / SAVED_PART : least;
    credit_init(c, amount - most, DAY_US, most, now_us); /* what is saved up counts against the day */
    c->bounded = amount > 0;
}

bool credit_has(struct credit *c, double amount, int64_t now_us)
{
    if (!c->bounded) {
        return true;
    }
    double left = c->left + c->per_us * (double)(now_us - c->at_us);
    c->left = left < c->most ? left : c->most;
    c->at_us = now_us;
    return c->left >= amount;
}

void credit_spend(struct credit *c, double amount)
{
    c->left -= c->bounded ? amount : 0;
}
