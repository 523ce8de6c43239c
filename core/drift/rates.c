/* SPDX-License-Identifier: Apache-2.0 */
/* An exponential histogram of counts, as ADWIN's: level l has buckets of DRIFT_RATES_BLOCK * 2^l answers. */
#include <assert.h>
#include <math.h>

#include "core/drift/drift.h"

enum { LEAST_SIDE = 2 * DRIFT_RATES_BLOCK };

void drift_rates_init(struct drift_rates *r, unsigned kinds, double limit)
{
    memset(r, 0, sizeof(*r));
    r->kinds = kinds;
    r->limit = limit;
    assert(kinds >= 1 && kinds <= DRIFT_KINDS_MAX && limit > 0);
}

static void drop_first(struct drift_rates *r, unsigned level, unsigned count)
{
    r->level[level].used -= count;
    memmove(r->level[level].of, r->level[level].of + count, r->level[level].used * sizeof(r->level[level].of[0]));
}

/* The block that is full becomes a bucket; two of the oldest of a level that has too many become one of the next. */
static void insert_block(struct drift_rates *r)
{
    memcpy(r->level[0].of[r->level[0].used++], r->block, sizeof(r->block));
    memset(r->block, 0, sizeof(r->block));
    r->filled = 0;
    for (unsigned l = 0; l < DRIFT_RATES_LEVELS && r->level[l].used > DRIFT_RATES_PER_LEVEL; l++) {
        if (l + 1 == DRIFT_RATES_LEVELS) {
            drop_first(r, l, 1); /* the oldest of all is forgotten */
            return;
        }
        uint32_t *to = r->level[l + 1].of[r->level[l + 1].used++];
        for (unsigned k = 0; k < r->kinds; k++) {
            to[k] = r->level[l].of[0][k] + r->level[l].of[1][k];
        }
        drop_first(r, l, 2);
    }
}

/* count ln(share / of), 0 ln 0 = 0 */
static double term(double count, double share, double of)
{
    return count > 0 ? count * log(share / of) : 0;
}

/* Log likelihood ratio of two rates against one. */
static double ratio(double n0, double k0, double n1, double k1)
{
    double p0 = k0 / n0, p1 = k1 / n1, p = (k0 + k1) / (n0 + n1);
    if (p1 <= p0) {
        return 0;
    }
    return term(k0, p0, p) + term(n0 - k0, 1 - p0, 1 - p) + term(k1, p1, p) + term(n1 - k1, 1 - p1, 1 - p);
}

struct border { /* between older and newer answers */
    double ratio, before, after;
    unsigned kind, level, index; /* its last older bucket */
};

static struct border strongest(const struct drift_rates *r)
{
    struct border best = {.ratio = 0};
    double all = 0, older = 0, of_all[DRIFT_KINDS_MAX] = {0}, of_older[DRIFT_KINDS_MAX] = {0};
    for (unsigned l = 0; l < DRIFT_RATES_LEVELS; l++) {
        for (unsigned i = 0; i < r->level[l].used; i++) {
            all += (double)((uint64_t)DRIFT_RATES_BLOCK << l);
            for (unsigned k = 0; k < r->kinds; k++) {
                of_all[k] += r->level[l].of[i][k];
            }
        }
    }
    for (unsigned l = DRIFT_RATES_LEVELS; l-- > 0;) {
        for (unsigned i = 0; i < r->level[l].used; i++) {
            older += (double)((uint64_t)DRIFT_RATES_BLOCK << l);
            double newer = all - older;
            for (unsigned k = 0; k < r->kinds; k++) {
                of_older[k] += r->level[l].of[i][k];
                double of_newer = of_all[k] - of_older[k];
                double found =
                    older >= LEAST_SIDE && newer >= LEAST_SIDE ? ratio(older, of_older[k], newer, of_newer) : 0;
                if (found > best.ratio) {
                    best = (struct border){found, of_older[k] / older, of_newer / newer, k, l, i};
                }
            }
        }
    }
    return best;
}

bool drift_rates_add(struct drift_rates *r, unsigned kind)
{
    if (kind < r->kinds) {
        r->block[kind]++;
    }
    if (++r->filled < DRIFT_RATES_BLOCK) {
        return false;
    }
    insert_block(r);
    struct border b = strongest(r);
    r->ratio = b.ratio;
    if (b.ratio <= r->limit) {
        return false;
    }
    r->kind = b.kind;
    r->before = b.before;
    r->after = b.after;
    for (unsigned l = DRIFT_RATES_LEVELS - 1; l > b.level; l--) {
        r->level[l].used = 0;
    }
    drop_first(r, b.level, b.index + 1);
    return true;
}
