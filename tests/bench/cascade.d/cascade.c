/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trains both models, settles temperature and threshold on the validation part, then answers the test part once: device
 * alone, gateway alone, cascade. Curve on stderr, closing line on stdout.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/bench/cascade.d/bench.h"

enum { CLASSES = 16, TIMED = 2000, BINS = 15 };
struct settings {
    const char *set, *data, *work;
    struct size_limits limits;
    double rtt_ms, link_overhead; /* bytes of each ask or answer below MQTT */
    double goal, loss;            /* of the gateway's accuracy that may be lost: test part, validation part */
    double sure;                  /* standard errors that the validation part may have spoken too well */
    double budget_bytes;          /* 0: by accuracy */
    double share;                 /* that may be escalated */
    uint64_t seed;
};
struct bench {
    const struct settings *settings;
    struct set set;
    struct tier *device, *gateway; /* owned */
    struct askcost link;
    double device_us, gateway_us;
    struct cascade_cost cost;
};

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct decision answer(struct tier *t, const float *row, float *ret_output)
{
    tier_run(t, row, ret_output);
    return model_decide(tier_info(t), row, ret_output, tier_info(t)->class_count);
}

struct outcome {
    struct cascade_case *cases; /* owned; [count], in the rows' order */
    float *logits;              /* owned; the device's */
    size_t count;
    double device, gateway, sent; /* accuracy: the gateway's with its input whole, and as an ask carries it */
    double cascade, escalated;    /* of model_decide's `unsure` */
};

static void outcome_free(struct outcome *o)
{
    free(o->cases);
    free(o->logits);
}

static struct outcome answer_all(struct bench *b, const struct rows *rows)
{
    size_t n = rows->count, classes = b->set.class_count, right = 0, whole = 0, sent = 0, cascade = 0, asked = 0;
    struct outcome o = {.cases = calloc(n, sizeof(*o.cases)), .logits = calloc(n * classes, sizeof(float)), .count = n};
    float *row = calloc(max_u64(tier_inputs(b->device), tier_inputs(b->gateway)), sizeof(*row)), output[CLASSES];
    if (o.cases == NULL || o.logits == NULL || row == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        const float *window = rows->windows + i * b->set.window;
        tier_row(b->device, window, row);
        struct decision d = answer(b->device, row, o.logits + i * classes);
        tier_row(b->gateway, window, row);
        struct decision g = answer(b->gateway, row, output);
        (void)ask_row(&b->set, b->device, b->gateway, window, row);
        struct decision s = answer(b->gateway, row, output);
        o.cases[i] = (struct cascade_case){d.confidence, d.class == rows->labels[i], s.class == rows->labels[i]};
        right += o.cases[i].device_right;
        whole += g.class == rows->labels[i];
        sent += o.cases[i].gateway_right;
        asked += d.unsure;
        cascade += d.unsure ? o.cases[i].gateway_right : o.cases[i].device_right;
    }
    free(row);
    o.device = (double)right / (double)n;
    o.gateway = (double)whole / (double)n;
    o.sent = (double)sent / (double)n;
    o.cascade = (double)cascade / (double)n;
    o.escalated = (double)asked / (double)n;
    return o;
}

/* Processor time of an answer: features, network, decision. */
static double time_of(struct bench *b, struct tier *t)
{
    size_t n = b->set.valid.count < TIMED ? b->set.valid.count : TIMED;
    float *row = calloc(tier_inputs(t), sizeof(*row)), output[CLASSES];
    if (row == NULL) {
        abort();
    }
    double from = cpu_us();
    for (size_t i = 0; i < n; i++) {
        tier_row(t, b->set.valid.windows + i * b->set.window, row);
        (void)answer(t, row, output);
    }
    free(row);
    return (cpu_us() - from) / (double)n;
}

static void print_point(const char *what, const struct cascade_point *p)
{
    fprintf(stderr, "  %-10s threshold %.4f  escalated %5.1f %%  accuracy %6.2f %%  %6.1f B  %8.1f us\n", what,
            p->threshold, 100 * p->escalated, 100 * p->accuracy, p->bytes, p->latency_us);
}

static void print_curve(const struct cascade_point *points, size_t count)
{
    const double shares[] = {0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1};
    size_t at = 0;
    fprintf(stderr, "curve of the validation part, per inference:\n");
    for (size_t s = 0; s < COUNT_OF(shares); s++) {
        while (at + 1 < count && points[at].escalated < shares[s]) {
            at++;
        }
        print_point("", &points[at]);
    }
}

/* Threshold from the validation part alone. */
static struct cascade_point pick(struct bench *b, struct outcome *valid)
{
    const struct settings *s = b->settings;
    struct cascade_point *points = calloc(valid->count + 1, sizeof(*points)), chosen;
    if (points == NULL) {
        abort();
    }
    size_t n = cascade_curve(valid->cases, valid->count, &b->cost, points);
    print_curve(points, n);
    const struct cascade_goal goal = {
        .loss_max = s->loss, .errors = s->sure, .escalated_max = s->share, .bytes_max = s->budget_bytes};
    enum err err = cascade_choose(points, n, &b->cost, &goal, &chosen);
    if (err != OK) {
        fprintf(stderr, "bench-cascade: no threshold within the budget: never asking costs %.1f B\n",
                b->cost.result_bytes);
        exit(2);
    }
    print_point("chosen:", &chosen);
    free(points);
    return chosen;
}

static void prepare(struct bench *b)
{
    static char device_dir[512], gateway_dir[512];
    const struct settings *s = b->settings;
    snprintf(device_dir, sizeof(device_dir), "%s/%s-device", s->work, s->set);
    snprintf(gateway_dir, sizeof(gateway_dir), "%s/%s-gateway", s->work, s->set);
    mkdir(device_dir, 0700);
    mkdir(gateway_dir, 0700);
    b->device = tier_make(device_dir, &b->set, &b->set.device);
    b->gateway = tier_make(gateway_dir, &b->set, &b->set.gateway);
    float *row = calloc(tier_inputs(b->gateway), sizeof(*row));
    if (row == NULL) {
        abort();
    }
    b->link = ask_cost(&b->set, ask_row(&b->set, b->device, b->gateway, b->set.valid.windows, row), s->link_overhead);
    free(row);
    b->device_us = time_of(b, b->device);
    b->gateway_us = time_of(b, b->gateway);
    b->cost = (struct cascade_cost){.result_bytes = b->link.record,
                                    .ask_bytes = b->link.ask + b->link.answer + b->link.longer_record,
                                    .device_us = b->device_us,
                                    .ask_us = 1000 * s->rtt_ms + b->gateway_us};
}

/* Calibration error of the test part had the temperature stayed 1. */
static double error_untempered(const struct bench *b, const struct outcome *test)
{
    struct model_info plain = *tier_info(b->device);
    struct cascade_case *cases = calloc(test->count, sizeof(*cases));
    if (cases == NULL) {
        abort();
    }
    plain.temperature = 1;
    for (size_t i = 0; i < test->count; i++) {
        cases[i] = test->cases[i];
        cases[i].confidence =
            model_decide(&plain, NULL, test->logits + i * plain.class_count, plain.class_count).confidence;
    }
    double error = cascade_calibration_error(cases, test->count, BINS);
    free(cases);
    return error;
}

static int report(struct bench *b, struct outcome *test)
{
    const struct settings *s = b->settings;
    const struct model_info *info = tier_info(b->device);
    double threshold = info->unsure_below, temperature = info->temperature, error_before = error_untempered(b, test);
    struct cascade_point p = cascade_measure(test->cases, test->count, &b->cost, threshold);
    if (fabs(p.accuracy - test->cascade) > 1e-9 || fabs(p.escalated - test->escalated) > 1e-9) {
        fprintf(stderr, "bench-cascade: model_decide and the curve differ in who asks\n");
        return 2;
    }
    double error = cascade_calibration_error(test->cases, test->count, BINS);
    size_t payload = b->set.ask_window ? 2 * b->set.window : tier_inputs(b->device);
    bool ok = test->cascade >= test->gateway - s->goal && test->escalated <= s->share;
    print_point("test:", &p);
    printf("set=%s train=%zu valid=%zu test=%zu device=%.2f gateway=%.2f gateway_sent=%.2f cascade=%.2f escalated=%.2f "
           "threshold=%.4f temperature=%.3f ece_untempered=%.2f ece=%.2f bytes_device=%.1f bytes_cascade=%.1f "
           "bytes_all_up=%.1f "
           "bytes_payload=%zu us_device=%.1f us_gateway=%.1f ms_cascade=%.2f ms_all_up=%.2f weights_device=%zu "
           "weights_gateway=%zu macs_device=%llu macs_gateway=%llu ok=%d\n",
           b->set.name, b->set.train.count, b->set.valid.count, test->count, 100 * test->device, 100 * test->gateway,
           100 * test->sent, 100 * test->cascade, 100 * test->escalated, threshold, temperature, 100 * error_before,
           100 * error, b->link.record, p.bytes, b->link.record + b->cost.ask_bytes, payload, b->device_us,
           b->gateway_us, p.latency_us / 1000, b->cost.ask_us / 1000, tier_weights_bytes(b->device),
           tier_weights_bytes(b->gateway), (unsigned long long)tier_macs(b->device),
           (unsigned long long)tier_macs(b->gateway), ok);
    return ok ? 0 : 1;
}

static int run(const struct settings *settings)
{
    struct bench b = {.settings = settings};
    double temperature;
    enum err err = set_load(settings->set, settings->data, &settings->limits, &b.set);
    if (err != OK) {
        fprintf(stderr, "bench-cascade: %s: %s\n", settings->set, err_name(err));
        set_deinit(&b.set);
        return 2;
    }
    b.set.seed = settings->seed;
    prepare(&b);
    struct outcome plain = answer_all(&b, &b.set.valid);
    if (cascade_temperature(plain.logits, b.set.valid.labels, plain.count, b.set.class_count, &temperature, NULL) !=
        OK) {
        fprintf(stderr, "bench-cascade: no temperature\n");
        exit(2);
    }
    tier_settle(b.device, temperature, 0);
    struct outcome valid = answer_all(&b, &b.set.valid);
    struct cascade_point chosen = pick(&b, &valid);
    tier_settle(b.device, temperature, chosen.threshold);
    struct outcome test = answer_all(&b, &b.set.test);
    int code = report(&b, &test);
    outcome_free(&plain);
    outcome_free(&valid);
    outcome_free(&test);
    tier_free(b.device);
    tier_free(b.gateway);
    set_deinit(&b.set);
    return code;
}

int main(int argc, char **argv)
{
    struct settings s = {
        .rtt_ms = 40, .link_overhead = 74, .goal = 0.005, .loss = 0.0025, .sure = 2.33, .share = 0.2, .seed = 1};
    enum { SET, DATA, WORK, TRAIN, TEST, EPOCHS, SEED, RTT, OVERHEAD, LOSS, SURE, BUDGET };
    static const struct option options[] = {
        {"set", required_argument, NULL, SET},
        {"data", required_argument, NULL, DATA},
        {"work", required_argument, NULL, WORK},
        {"train", required_argument, NULL, TRAIN},
        {"test", required_argument, NULL, TEST},
        {"epochs", required_argument, NULL, EPOCHS},
        {"seed", required_argument, NULL, SEED},
        {"rtt-ms", required_argument, NULL, RTT},
        {"link-overhead", required_argument, NULL, OVERHEAD},
        {"loss", required_argument, NULL, LOSS},
        {"sure", required_argument, NULL, SURE},
        {"budget-bytes", required_argument, NULL, BUDGET},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == SET || c == DATA || c == WORK) {
            *(c == SET ? &s.set : c == DATA ? &s.data : &s.work) = optarg;
        } else if (c == TRAIN || c == TEST) {
            *(c == TRAIN ? &s.limits.train : &s.limits.test) = strtoul(optarg, NULL, 10);
        } else if (c == SEED) {
            s.seed = strtoull(optarg, NULL, 10);
        } else if (c == EPOCHS) {
            s.limits.epochs = (unsigned)strtoul(optarg, NULL, 10);
        } else if (c >= RTT && c <= BUDGET) {
            double *to[] = {&s.rtt_ms, &s.link_overhead, &s.loss, &s.sure, &s.budget_bytes};
            *to[c - RTT] = strtod(optarg, NULL) / (c == LOSS ? 100 : 1);
        } else {
            return 2;
        }
    }
    if (s.set == NULL || s.data == NULL || s.work == NULL || optind != argc) {
        fprintf(stderr, "usage: bench-cascade --set NAME --data DIR --work DIR [options]; see tests/bench/cascade\n");
        return 2;
    }
    return run(&s);
}
