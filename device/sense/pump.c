/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pump - a simulated centrifugal pump with its motor and bearing, one step of one second per sample.
 *
 *   speed set point -> motor (first-order lag) -> speed n
 *   pump curve  p = A n^2 - B q^2  meets  system curve  p = P + R q^2   => flow q, pressure p
 *   hydraulic power p q / efficiency + friction -> motor current;  losses -> bearing temperature (first-order lag)
 *   imbalance n^2, and wear -> vibration
 *
 * Affinity laws (flow ~ n, head ~ n^2, power ~ n^3) follow from the curves. Noise and set points come from mix_u64 of
 * (seed, step, channel): the same seed gives the same series, bit for bit.
 *
 * Faults come in cycles (the option `cycle`; an hour of steps), after a healthy first part (`onset`; else its length
 * depends on the seed); with the next cycle the pump is as new:
 *   wear   efficiency falls, friction, temperature and vibration rise with the square of the time since it began
 *   stuck  one sensor, chosen by the seed, repeats its last value
 *   leak   a part of the flow leaves before the flow meter, and the outlet pressure falls
 *   auto   one of these or none, chosen by the seed
 */
#include "device/sense/sense_internal.h"

#include <inttypes.h>
#include <math.h>

enum { FLOW, PRESSURE, SPEED, MOTOR_CURRENT, BEARING_TEMP, VIBRATION_RMS, CHANNEL_COUNT };
enum fault_kind { FAULT_NONE, FAULT_WEAR, FAULT_STUCK, FAULT_LEAK, FAULT_KINDS };
enum { CYCLE_STEPS = 3600, SET_POINT_STEPS = 240 };

static const char *const fault_names[FAULT_KINDS] = {"none", "wear", "stuck", "leak"};

static const struct {
    const char *name, *unit;
    double resolution, noise; /* noise: standard deviation in the channel's unit */
} channels[CHANNEL_COUNT] = {
    [FLOW] = {"flow", "m3/h", 0.01, 0.08},
    [PRESSURE] = {"pressure", "bar", 0.001, 0.006},
    [SPEED] = {"speed", "/min", 1.0, 1.5},
    [MOTOR_CURRENT] = {"motor_current", "A", 0.01, 0.03},
    [BEARING_TEMP] = {"bearing_temp", "Cel", 0.1, 0.05},
    [VIBRATION_RMS] = {"vibration_rms", "mm/s", 0.01, 0.04},
};

struct pump {
    uint64_t seed, step;
    enum fault_kind fault;
    uint64_t cycle_steps, healthy_steps;
    unsigned stuck_channel;
    double speed, bearing_temp; /* states of the two lags */
    double stuck_value;         /* NaN while nothing is stuck */
};

/* 0 <= result < 1 */
static double uniform(uint64_t seed, uint64_t step, uint64_t what)
{
    return (double)(mix_u64(seed ^ mix_u64(step * 64 + what)) >> 11) * 0x1p-53;
}

/* Irwin-Hall: four uniforms have variance 1/3. */
static double noise(const struct pump *p, unsigned channel)
{
    double sum = -2;
    for (unsigned i = 0; i < 4; i++) {
        sum += uniform(p->seed, p->step, 8 + channel * 4 + i);
    }
    return sum * 1.7320508075688772;
}

/* 0 while healthy, else 0..1 of the faulty part of the cycle. */
static double fault_progress(const struct pump *p)
{
    uint64_t at = p->step % p->cycle_steps;
    if (p->fault == FAULT_NONE || at < p->healthy_steps) {
        return 0;
    }
    return (double)(at - p->healthy_steps + 1) / (double)(p->cycle_steps - p->healthy_steps);
}

static void pump_step(struct pump *p, double *values)
{
    double progress = fault_progress(p);
    double wear = p->fault == FAULT_WEAR ? progress * progress : 0;
    double leak = p->fault == FAULT_LEAK && progress > 0 ? 0.25 : 0;

    double set_point = 2500 + 400 * uniform(p->seed, p->step / SET_POINT_STEPS, 1); /* 1/min */
    p->speed += (set_point - p->speed) / 8;
    double n = p->speed / 2900;
    double resistance = 0.0016 * (1 - leak); /* a leak is a second way out */
    double a = 4.2 * (1 - 0.1 * wear), b = 0.0011, static_bar = 0.6;
    double q = sqrt(fmax(a * n * n - static_bar, 0) / (b + resistance)); /* m3/h through the pump */
    double bar = fmax(a * n * n - b * q * q, 0);
    double efficiency = 0.68 * (1 - 0.3 * wear);
    double hydraulic_kw = bar * q / 36; /* 1 bar m3/h = 1/36 kW */
    double friction_kw = 0.12 * n * (1 + 2 * wear);
    double shaft_kw = hydraulic_kw / efficiency + friction_kw;
    p->bearing_temp += (24 + 90 * friction_kw + 4 * shaft_kw - p->bearing_temp) / 300;

    values[FLOW] = q * (1 - leak);
    values[PRESSURE] = bar * (1 - 0.5 * leak);
    values[SPEED] = p->speed;
    values[MOTOR_CURRENT] = shaft_kw / (1.7320508 * 0.4 * 0.86 * 0.9); /* 400 V, cos phi 0.86, motor 90 % */
    values[BEARING_TEMP] = p->bearing_temp;
    values[VIBRATION_RMS] = 0.9 + 0.7 * n * n + 5.5 * wear;
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        values[i] += channels[i].noise * noise(p, i);
    }
    if (p->fault == FAULT_STUCK && progress > 0) {
        p->stuck_value = isnan(p->stuck_value) ? values[p->stuck_channel] : p->stuck_value;
        values[p->stuck_channel] = p->stuck_value;
    } else {
        p->stuck_value = NAN;
    }
    p->step++;
}

static enum err pump_fault(const char *word, uint64_t seed, enum fault_kind *ret_fault, struct fault *reterr)
{
    if (word == NULL || word[0] == '\0') {
        word = "none";
    }
    if (strcmp(word, "auto") == 0) {
        *ret_fault = (enum fault_kind)(mix_u64(seed ^ UINT64_C(0x70756d70)) % FAULT_KINDS);
        return OK;
    }
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        if (strcmp(word, fault_names[i]) == 0) {
            *ret_fault = (enum fault_kind)i;
            return OK;
        }
    }
    return fault_set(reterr, ERR_NOT_FOUND, "driver pump: no fault \"%s\"; there are none, wear, stuck, leak, auto",
                     word);
}

static enum err pump_open(struct sense *sense, const struct sense_options *options, struct fault *reterr)
{
    struct pump *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    sense->state = p;
    TRY(pump_fault(options->fault, options->seed, &p->fault, reterr));
    p->seed = mix_u64(options->seed);
    p->cycle_steps = options->cycle > 0 ? options->cycle : CYCLE_STEPS;
    p->healthy_steps =
        options->onset > 0 ? options->onset : p->cycle_steps / 6 + mix_u64(p->seed) % max_u64(p->cycle_steps / 2, 1);
    if (p->healthy_steps >= p->cycle_steps) {
        return fault_set(reterr, ERR_RANGE, "driver pump: the fault begins after its cycle of %" PRIu64 " samples",
                         p->cycle_steps);
    }
    p->stuck_channel = (unsigned)(mix_u64(p->seed + 1) % CHANNEL_COUNT);
    p->stuck_value = NAN;
    p->speed = 2700;
    p->bearing_temp = 45;
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        TRY(sense_channel_add(sense, channels[i].name, channels[i].unit, channels[i].resolution));
    }
    return OK;
}

static enum err pump_read(struct sense *sense, const struct sense_place *place, double *values)
{
    (void)place;
    pump_step(sense->state, values);
    return OK;
}

static void pump_close(struct sense *sense)
{
    free(sense->state);
}

const struct sense_driver sense_driver_pump = {
    .name = "pump", .open = pump_open, .read = pump_read, .close = pump_close};
