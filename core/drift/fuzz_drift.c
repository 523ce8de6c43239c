/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever decodes is a state that can go on, and that is the same bytes again. First byte: which of them. */
#include <assert.h>
#include <math.h>

#include "core/base/buffer.h"
#include "core/base/cursor.h"
#include "core/drift/drift.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ADDED = 500 };

static double number(unsigned i)
{
    return (double)(mix_u64(i) >> 11) / 9007199254740992.0;
}

/* Bytes that the state came from, but for varints that were longer than need be: their encoding is a fixed point. */
#define AGAIN(kind, state, ...)                                                                                        \
    do {                                                                                                               \
        BUFFER(first, 1 << 16);                                                                                        \
        BUFFER(second, 1 << 16);                                                                                       \
        drift_put_##kind(&(state), &first);                                                                            \
        assert(buffer_err(&first) == OK);                                                                              \
        struct cursor again = cursor_of(buffer_slice(&first));                                                         \
        assert(drift_get_##kind(&again, ##__VA_ARGS__, &(state)) == OK && cursor_end(&again) == OK);                   \
        drift_put_##kind(&(state), &second);                                                                           \
        assert(slice_equal(buffer_slice(&first), buffer_slice(&second)));                                              \
    } while (0)

static void change(struct cursor *in, uint8_t which)
{
    struct drift_page_hinkley p = {.delta = 0.005, .limit = 20};
    static struct drift_adwin a;
    drift_adwin_init(&a, 0.002);
    if (which == 0 && drift_get_page_hinkley(in, &p) == OK) {
        AGAIN(page_hinkley, p);
        for (unsigned i = 0; i < ADDED; i++) {
            (void)drift_page_hinkley_add(&p, number(i));
        }
    }
    if (which == 1 && drift_get_adwin(in, &a) == OK) {
        AGAIN(adwin, a);
        for (unsigned i = 0; i < ADDED; i++) {
            (void)drift_adwin_add(&a, number(i));
        }
    }
}

static void rates(struct cursor *in, uint8_t which)
{
    static struct drift_rates r;
    struct drift_levels l = {.dimensions = 3, .lambda = 0.25, .mean = {1, 2, 3}, .reach = {1, 0, 2}};
    double off[3] = {0}, row[3];
    unsigned found;
    drift_rates_init(&r, 3, DRIFT_RATES_LIMIT);
    if (which == 6 && drift_get_rates(in, &r) == OK) {
        AGAIN(rates, r);
        for (unsigned i = 0; i < ADDED; i++) {
            (void)drift_rates_add(&r, (unsigned)(number(i) * 5));
            assert(isfinite(r.ratio));
        }
    }
    if (which == 7 && drift_get_levels(in, &l, off) == OK) {
        BUFFER(first, 1 << 8);
        drift_put_levels(&l, off, &first);
        struct cursor again = cursor_of(buffer_slice(&first));
        assert(drift_get_levels(&again, &l, off) == OK && cursor_end(&again) == OK);
        for (unsigned i = 0; i < ADDED; i++) {
            for (unsigned k = 0; k < COUNT_OF(row); k++) {
                row[k] = number(3 * i + k);
            }
            assert(isfinite(drift_levels_add(&l, off, row, &found)) && found < l.dimensions);
        }
    }
}

static void scores(struct cursor *in, uint8_t which)
{
    struct drift_ewma e = {.lambda = 0.1};
    struct drift_reference r = {.bins = 3, .edge = {0.3, 0.6}, .share = {0.3, 0.3, 0.4}};
    struct drift_confirm c = {.k = 3, .n = 5};
    static struct drift_window w;
    assert(drift_window_init(&w, 50) == OK);
    if (which == 2 && drift_get_ewma(in, &e) == OK) {
        AGAIN(ewma, e);
        assert(!isnan(drift_ewma_add(&e, 1)));
    }
    if (which == 3 && drift_get_window(in, r.bins, &w) == OK) {
        AGAIN(window, w, r.bins);
        for (unsigned i = 0; i < ADDED; i++) {
            drift_window_add(&w, &r, number(i));
            assert(isfinite(drift_psi(&w, &r)) && drift_ks(&w, &r) <= 1.0001);
        }
    }
    if (which == 4 && drift_get_confirm(in, &c) == OK) {
        AGAIN(confirm, c);
        for (unsigned i = 0; i < c.n; i++) {
            (void)drift_confirm_add(&c, false);
        }
        assert(!c.raised);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor in = cursor_of(slice_of(data, size));
    uint8_t which = cursor_u8(&in);
    struct drift_sensor s = {.stuck_after = 20, .missing_after = 20, .spike = 1, .noise = 1};
    change(&in, which);
    scores(&in, which);
    rates(&in, which);
    if (which == 5 && drift_get_sensor(&in, &s) == OK) {
        AGAIN(sensor, s);
        for (unsigned i = 0; i < ADDED; i++) {
            assert((unsigned)drift_sensor_add(&s, number(i)) < DRIFT_FAULTS);
        }
    }
    return 0;
}
