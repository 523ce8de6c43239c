/* SPDX-License-Identifier: Apache-2.0 */
/*
 * books - the gateway's side of the books held against the devices' own.
 *
 * Comes in: what every device holds (epoch, highest durable number, highest acknowledged number of each lane) and the
 * answer of the gateway's /ledger. Goes out: an account of what adds up and what does not, with the first few
 * contradictions as sentences. Pure: text in, account out.
 *
 * Numbers stand for records or for declared gaps; the account counts records.
 * Of a lane must hold: acked <= hwm <= durable. acked > hwm: the gateway has acknowledged what it does not have;
 * hwm > durable: it has what the device never stored. Once everything is acknowledged hwm = durable.
 * A declared gap that the device did not declare itself is a loss as well, named or not.
 */
#ifndef SIMULATORS_LOAD_BOOKS_H
#define SIMULATORS_LOAD_BOOKS_H

#include "core/base/base.h"
#include "core/base/buffer.h"

enum { BOOKS_LANES = 2, BOOKS_TOLD = 10 };

struct books_lane {
    uint64_t epoch; /* 0 = the device never got as far as making it */
    uint64_t durable, acked;
    uint64_t gaps;  /* numbers that the device itself has declared lost (full store, damage) */
    uint64_t gaps_waiting; /* of these, above acked */
};
struct books_device {
    struct books_lane lane[BOOKS_LANES];
};
struct books_account {
    uint64_t durable;        /* records, over all devices and lanes; = acked + waiting + gaps */
    uint64_t acked;          /* records; what was declared lost is none */
    uint64_t waiting;        /* durable, not acknowledged */
    uint64_t committed;      /* durable at the gateway, of our devices' streams; without its gaps */
    uint64_t lost;           /* acknowledged, but the gateway does not have them; undeclared gaps are among them */
    uint64_t phantom;        /* at the gateway, but never durable at the device */
    uint64_t undeclared;     /* numbers declared lost at the gateway that no device declared */
    uint64_t gaps;           /* numbers that devices declared lost */
    uint64_t gaps_acked;     /* of these: acknowledged */
    uint64_t missing;        /* devices with acknowledged records of which the gateway knows no stream */
    uint64_t strangers;      /* streams of our devices' identities that are none of their epochs (forged) */
    uint64_t streams;        /* that the gateway has, everybody's */
    bool compared;           /* the gateway was asked */
};
/* The streams that a gateway had before the run, each with its high-water mark, as keys; for leaving them out. */
struct books_known {
    uint64_t *keys; /* owned */
    size_t count;
};
void books_known_deinit(struct books_known *known);
/* ERR_MALFORMED: not a gateway's ledger; ERR_NOMEM. */
enum err books_know(struct slice answer, struct books_known *ret_known) MUST_CHECK;
/* The devices' own side. */
void books_count(const struct books_device *devices, size_t count, struct books_account *ret_account);
/* Compares. answer: JSON of /ledger; identities are PREFIX-1 .. PREFIX-count. Adds to *account, which books_count has
 * filled in; streams that `before` (NULL = none) knows are no strangers; complaints receives a line per contradiction,
 * BOOKS_TOLD at most. ERR_MALFORMED: not a gateway's ledger;
 * ERR_NOMEM. */
enum err books_compare(const struct books_device *devices, size_t count, const char *prefix, struct slice answer,
                        const struct books_known *before, struct books_account *account,
                        struct buffer *complaints) MUST_CHECK;
/* Nothing acknowledged is missing, nothing is there that never was. */
bool books_adds_up(const struct books_account *account);

#endif
