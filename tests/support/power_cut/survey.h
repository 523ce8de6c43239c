/* SPDX-License-Identifier: Apache-2.0 */
/*
 * survey - what the programs find when they start again on a state, and whether that keeps what was promised.
 *
 * A plant's folder as tests/support/plant.py and tests/system/power_cut lay it out: device/1 .. device/N, gateway,
 * bridge, weir.db, out/files (the file sink). Every store and sink is opened by the product's own way of starting,
 * which may write. Then, for every stream:
 *
 *   lost         the sender does not have what it had sent; the receiver does not have what it had acknowledged; a
 *                number is neither in a sink nor anywhere on the way to it
 *   corrupt      a store that was set aside, cannot be opened or had to be repaired; an entry, a record, a reading or
 *                a line that is not what was written
 *   phantom      a receiver or a sink has what its source does not have
 *   duplicated   a number twice in a sink
 *   order        a sender has trimmed what its receiver does not have, or the bridge what a sink does not have
 */
#ifndef TESTS_SUPPORT_POWER_CUT_SURVEY_H
#define TESTS_SUPPORT_POWER_CUT_SURVEY_H

#include "core/base/buffer.h"
#include "tests/support/power_cut/facts.h"

struct survey;
struct tally {
    uint64_t lost, corrupt, phantom, duplicated, order;
    uint64_t promises; /* that were held against the state */
    uint64_t records;  /* entries, rows and lines that were looked at */
};

/* Opens and reads the state in dir. What is wrong is told in complaints, a sentence a line. */
struct survey *survey_new(const char *dir, unsigned devices, const struct facts *facts, struct buffer *complaints);
void survey_free(struct survey *survey);
/* Holds it against what was promised before stamp, and against base (may be NULL), the survey of the state that
 * everything began with. Adds to *tally. */
void survey_judge(struct survey *survey, const struct survey *base, const struct facts *facts, uint64_t stamp,
                  struct tally *tally);
bool tally_clean(const struct tally *tally);

#endif
