/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw - what chance decides about each device, as a function of seed and number.
 *
 * Shares are drawn by Kronecker sequences: the fractional part of start + number * irrational falls below a share for
 * that share of any stretch of numbers, to within one or two. So shares hold in small fleets too, and no class is
 * crowded into one part of the ramp. A different irrational for each purpose keeps them independent of each other.
 */
#include <math.h>
#include <stdio.h>

#include "simulators/scenario/scenario.h"

/* Fractional parts times 2^64 of the golden ratio and of the square roots of 2 and 3. */
#define STEP_CLASS UINT64_C(0x9e3779b97f4a7c15)
#define STEP_OFFLINE UINT64_C(0x6a09e667f3bcc909)
#define STEP_CLOCK UINT64_C(0xbb67ae8584caa73b)

enum { PURPOSE_CLASS = 1, PURPOSE_OFFLINE, PURPOSE_CLOCK, PURPOSE_SKEW, PURPOSE_VICTIM, PURPOSE_CALLER = 64 };

static uint64_t chance(const struct scenario *s, uint64_t purpose, uint64_t device)
{
    return mix_u64(mix_u64(mix_u64((uint64_t)s->seed) ^ purpose) ^ device);
}

static double fraction(uint64_t x)
{
    return (double)(x >> 11) / (double)(UINT64_C(1) << 53);
}

static double spread(const struct scenario *s, uint64_t purpose, uint64_t step, unsigned device)
{
    return fraction(chance(s, purpose, 0) + (device + UINT64_C(1)) * step);
}

unsigned scenario_connections(const struct scenario *s)
{
    return (unsigned)(s->devices + s->bad.garbage + s->bad.flood + s->bad.thieves + s->bad.twins);
}

uint64_t scenario_descriptors(const struct scenario *s)
{
    return scenario_connections(s) + UINT64_C(64); /* the process's own: loop, report, gateway's socket, libraries */
}

/* ---- classes ---- */
const struct scenario_class *scenario_class(const struct scenario *s, unsigned index)
{
    return (const struct scenario_class *)s->classes.items + index;
}

static double shares(const struct scenario *s)
{
    double sum = 0;
    for (unsigned i = 0; i < s->classes.count; i++) {
        sum += scenario_class(s, i)->share;
    }
    return sum;
}

unsigned scenario_class_of(const struct scenario *s, unsigned device)
{
    double left = spread(s, PURPOSE_CLASS, STEP_CLASS, device) * shares(s);
    unsigned last = 0;
    for (unsigned i = 0; i < s->classes.count; i++) {
        double share = scenario_class(s, i)->share;
        if (share > 0 && left < share) {
            return i;
        }
        left -= share;
        last = share > 0 ? i : last;
    }
    return last; /* the sum was rounded down */
}

unsigned scenario_class_devices(const struct scenario *s, unsigned index)
{
    unsigned count = 0;
    for (unsigned device = 0; device < s->devices; device++) {
        count += scenario_class_of(s, device) == index;
    }
    return count;
}

/* ---- a device ---- */
int64_t scenario_connect_us(const struct scenario *s, unsigned device)
{
    return (int64_t)((double)s->ramp_us * device / (double)max_i64(s->devices, 1));
}

bool scenario_goes_offline(const struct scenario *s, unsigned device)
{
    return spread(s, PURPOSE_OFFLINE, STEP_OFFLINE, device) < s->offline.share;
}

int64_t scenario_skew_us(const struct scenario *s, unsigned device)
{
    if (spread(s, PURPOSE_CLOCK, STEP_CLOCK, device) >= s->clock.share) {
        return 0;
    }
    double part = 2 * fraction(chance(s, PURPOSE_SKEW, device)) - 1;
    int64_t skew = llround(part * (double)s->clock.skew_us);
    return skew != 0 ? skew : min_i64(s->clock.skew_us, 1);
}

uint64_t scenario_chance_seed(const struct scenario *s, unsigned device, unsigned purpose)
{
    return chance(s, PURPOSE_CALLER + (uint64_t)purpose, device);
}

/* ---- bad actors ---- */
/* Which kind the connection is, and its turn among those of its kind. */
static enum scenario_actor actor_of(const struct scenario *s, unsigned connection, unsigned *ret_turn)
{
    const int64_t counts[] = {s->devices, s->bad.garbage, s->bad.flood, s->bad.thieves, s->bad.twins};
    int64_t left = connection;
    unsigned kind = 0;
    while (kind + 1 < COUNT_OF(counts) && left >= counts[kind]) {
        left -= counts[kind++];
    }
    *ret_turn = (unsigned)left;
    return (enum scenario_actor)kind;
}

enum scenario_actor scenario_actor(const struct scenario *s, unsigned connection)
{
    unsigned turn;
    return actor_of(s, connection, &turn);
}

const char *scenario_actor_name(enum scenario_actor actor)
{
    switch (actor) {
    case SCENARIO_DEVICE:
        return "device";
    case SCENARIO_GARBAGE:
        return "garbage";
    case SCENARIO_FLOOD:
        return "flood";
    case SCENARIO_THIEF:
        return "thief";
    case SCENARIO_TWIN:
        return "twin";
    }
    return "";
}

/* Evenly over the fleet from a drawn beginning: distinct as long as victims are no more than devices. */
unsigned scenario_victim(const struct scenario *s, unsigned connection)
{
    unsigned turn;
    enum scenario_actor kind = actor_of(s, connection, &turn);
    uint64_t victims = (uint64_t)(s->bad.thieves + s->bad.twins), devices = (uint64_t)s->devices;
    uint64_t nth = turn + (kind == SCENARIO_TWIN ? (uint64_t)s->bad.thieves : 0);
    uint64_t first = chance(s, PURPOSE_VICTIM, 0) % devices;
    return (unsigned)((first + nth * devices / max_u64(victims, 1)) % devices);
}

void scenario_identity(const struct scenario *s, unsigned connection, char ret_id[ID_MAX + 1])
{
    unsigned turn;
    enum scenario_actor kind = actor_of(s, connection, &turn);
    if (kind == SCENARIO_DEVICE || kind == SCENARIO_TWIN) {
        unsigned device = kind == SCENARIO_TWIN ? scenario_victim(s, connection) : connection;
        snprintf(ret_id, ID_MAX + 1, "%s-%u", s->prefix, device + 1);
    } else {
        snprintf(ret_id, ID_MAX + 1, "%s-%s-%u", s->prefix, scenario_actor_name(kind), turn + 1);
    }
}

enum err scenario_certificate(const struct scenario *s, const char *id, size_t size, char *ret_cert, char *ret_key)
{
    int cert = snprintf(ret_cert, size, "%s/%s.crt", s->broker.certificates, id);
    int key = snprintf(ret_key, size, "%s/%s.key", s->broker.certificates, id);
    return cert < 0 || key < 0 || (size_t)cert >= size || (size_t)key >= size ? ERR_FULL : OK;
}

/* ---- rates ---- */
void scenario_rates(const struct scenario *s, struct scenario_rates *ret_rates)
{
    struct scenario_rates rates = {.crashes = s->churn.rate};
    for (unsigned i = 0; i < s->classes.count; i++) {
        const struct scenario_class *class = scenario_class(s, i);
        double devices = scenario_class_devices(s, i), period_s = (double)class->period_us / 1e6;
        /* A record is closed when it is full, or at the first sample that finds its first one too old. */
        double samples = fmin((double)class->samples, floor((double)class->max_age_us / (double)class->period_us) + 1);
        rates.samples += devices / period_s;
        rates.records += devices / period_s / samples;
        rates.alarms += class->alarm_every_us > 0 ? devices * 1e6 / (double)class->alarm_every_us : 0;
        rates.health += class->health_us > 0 ? devices * 1e6 / (double)class->health_us : 0;
    }
    rates.connects = s->ramp_us > 0 ? (double)s->devices * 1e6 / (double)s->ramp_us : INFINITY;
    rates.bad = (double)(s->bad.garbage + s->bad.thieves + s->bad.twins) * s->bad.rate +
                (double)s->bad.flood * s->bad.flood_rate;
    *ret_rates = rates;
}
