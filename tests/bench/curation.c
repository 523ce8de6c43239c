/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nanoseconds of processor time per sample for tumbling and sliding windows, at 1, 100 and 10,000 channels,
 * beside what unpacking and decoding the same records costs.
 *
 * Devices of 50 channels (of 1 when there is one), records of 32 samples at 1 Hz; record after record for all devices
 * in turn, so that with many channels each one's state comes from memory, not from the cache. `whole` is everything
 * that curate_record does, `window` what is left without unpacking and decoding.
 *
 *   bench-curation [--samples N] [--runs N]        samples per case; the median of the runs is printed
 *
 * Closing line: for every case NAME_CHANNELS= (ns of windows) and whole_NAME_CHANNELS=, and decode_CHANNELS=; and for
 * every case NAME_many=, what a sample of 10,000 channels costs against one of 100, whole.
 */
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "proto/block/block.h"
#include "proto/curate/curate.h"
#include "proto/wire/wire.h"

enum { ROWS = 32, DEVICE_CHANNELS = 50, RUNS_MAX = 99 };
#define T0 (INT64_C(1600000000) * SECOND_US)

static struct {
    size_t samples;
    unsigned runs;
} options = {.samples = 1600000, .runs = 5};

static void die(const char *what)
{
    fprintf(stderr, "bench-curation: %s\n", what);
    exit(1);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct rules *load(const char *text)
{
    char path[] = "/tmp/weir-bench-rules-XXXXXX";
    int fd = mkstemp(path);
    struct rules *rules = NULL;
    BUFFER(problems, 4096);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || rules_load(path, &rules, &problems) != OK) {
        die("the rules do not load");
    }
    close(fd);
    unlink(path);
    return rules;
}

/* ---- records ---- */
struct input { /* the records of one device; all devices send the same */
    size_t channels, blocks;
    struct buffer *record; /* owned; [blocks + 1], the first is the description */
};

static void pack(const Weir__V1__Record *record, struct buffer *out)
{
    buffer_init(out, WIRE_RECORD_MAX);
    if (wire_record_pack(record, out) != OK) {
        die("a record does not pack");
    }
}

static uint32_t make_describe(size_t channels, struct buffer *out)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__ChannelInfo infos[DEVICE_CHANNELS], *list[DEVICE_CHANNELS];
    char names[DEVICE_CHANNELS][16];
    for (size_t i = 0; i < channels; i++) {
        infos[i] = (Weir__V1__ChannelInfo)WEIR__V1__CHANNEL_INFO__INIT;
        snprintf(names[i], sizeof(names[i]), "c%zu", i);
        infos[i].name = names[i];
        infos[i].resolution = 0.01;
        list[i] = &infos[i];
    }
    d.n_channel = channels;
    d.channel = list;
    d.set = wire_describe_set(&d);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    pack(&record, out);
    return d.set;
}

static void make_block(size_t channels, uint32_t set, size_t index, struct buffer *out)
{
    static int64_t cells[DEVICE_CHANNELS * ROWS];
    double resolutions[DEVICE_CHANNELS];
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    for (size_t c = 0; c < channels; c++) {
        resolutions[c] = 0.01;
        for (size_t i = 0; i < ROWS; i++) {
            double x = (double)(index * ROWS + i);
            int64_t noise = (int64_t)(mix_u64(c << 32 ^ index << 8 ^ i) % 128);
            cells[c * ROWS + i] = 5000 + (int64_t)(2000 * sin(x / 300 + (double)c)) + noise;
        }
    }
    BUFFER(columns, 1 << 20);
    if (block_encode(cells, resolutions, channels, ROWS, &columns) != OK) {
        die("a block does not encode");
    }
    b.set = set;
    b.wall_us = (uint64_t)(T0 + (int64_t)(index * ROWS) * SECOND_US);
    b.samples = ROWS;
    b.period_us = SECOND_US;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    pack(&record, out);
}

static void make_input(size_t channels, size_t blocks, struct input *in)
{
    *in = (struct input){.channels = channels, .blocks = blocks};
    in->record = calloc(blocks + 1, sizeof(*in->record));
    if (in->record == NULL) {
        die("out of memory");
    }
    uint32_t set = make_describe(channels, &in->record[0]);
    for (size_t i = 0; i < blocks; i++) {
        make_block(channels, set, i, &in->record[i + 1]);
    }
}

static void free_input(struct input *in)
{
    for (size_t i = 0; i <= in->blocks; i++) {
        buffer_deinit(&in->record[i]);
    }
    free(in->record);
}

/* ---- runs ---- */
/* Unpacking and decoding alone, ns per sample. */
static double run_decode(const struct input *in, size_t devices)
{
    static int64_t cells[DEVICE_CHANNELS * ROWS];
    double resolutions[DEVICE_CHANNELS];
    struct arena arena;
    size_t channels;
    if (arena_init(&arena, WIRE_ARENA_BYTES) != OK) {
        die("out of memory");
    }
    double start = now_ns();
    for (size_t i = 1; i <= in->blocks; i++) {
        for (size_t d = 0; d < devices; d++) {
            Weir__V1__Record *r;
            arena_reset(&arena);
            if (wire_record_unpack(buffer_slice(&in->record[i]), &arena, &r) != OK ||
                block_decode(slice_of(r->block->columns.data, r->block->columns.len), ROWS, DEVICE_CHANNELS, cells,
                             resolutions, &channels) != OK) {
                die("a record does not decode");
            }
        }
    }
    double ns = (now_ns() - start) / (double)(in->blocks * devices * in->channels * ROWS);
    arena_deinit(&arena);
    return ns;
}

static double run_windows(const struct input *in, size_t devices, const struct rules *rules, uint64_t *ret_windows)
{
    struct curate *curate = NULL;
    struct curate_stream **streams = calloc(devices, sizeof(struct curate_stream *));
    struct curate_result result;
    if (streams == NULL || curate_new(rules, &(struct curate_options){.stream_bytes = 0}, &curate) != OK) {
        die("out of memory");
    }
    for (size_t d = 0; d < devices; d++) {
        if (curate_stream_new(curate, "device", slice_of(NULL, 0), &streams[d]) != OK ||
            curate_record(curate, streams[d], buffer_slice(&in->record[0]), &result) != OK) {
            die("a stream does not begin");
        }
    }
    double start = now_ns();
    for (size_t i = 1; i <= in->blocks; i++) {
        for (size_t d = 0; d < devices; d++) {
            if (curate_record(curate, streams[d], buffer_slice(&in->record[i]), &result) != OK) {
                die("a record is not taken");
            }
        }
    }
    double ns = (now_ns() - start) / (double)(in->blocks * devices * in->channels * ROWS);
    struct curate_rule_stats stats;
    curate_stats(curate, 0, &stats);
    *ret_windows = stats.windows;
    if (stats.seen != in->blocks * devices * in->channels * ROWS || stats.cut != 0 || stats.windows == 0) {
        die("not every sample came to the window");
    }
    for (size_t d = 0; d < devices; d++) {
        curate_stream_free(streams[d]);
    }
    free(streams);
    curate_free(curate);
    return ns;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

static const struct {
    const char *name, *rules;
} cases[] = {
    {"tumbling", "rules: {w: {do: window, length: 60s}}"},
    {"sliding", "rules: {w: {do: window, length: 60s, every: 10s}}"},
    {"tumbling_quantiles", "rules: {w: {do: window, length: 60s, quantiles: [0.5]}}"},
    {"sliding_quantiles", "rules: {w: {do: window, length: 60s, every: 10s, quantiles: [0.5]}}"},
};

/* ret_whole: [COUNT_OF(cases)], ns per sample. */
static void run_size(size_t channels, struct buffer *closing, double *ret_whole)
{
    size_t each = channels < DEVICE_CHANNELS ? channels : DEVICE_CHANNELS, devices = channels / each;
    size_t blocks = options.samples / (channels * ROWS);
    struct input in;
    double decode[RUNS_MAX], whole[RUNS_MAX];
    make_input(each, blocks < 8 ? 8 : blocks, &in);
    for (unsigned i = 0; i < options.runs; i++) {
        decode[i] = run_decode(&in, devices);
    }
    double base = median(decode, options.runs);
    buffer_printf(closing, " decode_%zu=%.2f", channels, base);
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct rules *rules = load(cases[k].rules);
        uint64_t windows = 0;
        for (unsigned i = 0; i < options.runs; i++) {
            whole[i] = run_windows(&in, devices, rules, &windows);
        }
        double all = ret_whole[k] = median(whole, options.runs);
        fprintf(stderr, "%6zu channels, %-18s %6.2f ns per sample, %6.2f of them for windows (%llu windows)\n",
                channels, cases[k].name, all, all - base, (unsigned long long)windows);
        buffer_printf(closing, " %s_%zu=%.2f whole_%s_%zu=%.2f", cases[k].name, channels, all - base, cases[k].name,
                      channels, all);
        rules_free(rules);
    }
    free_input(&in);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--samples") == 0) {
            options.samples = strtoul(argv[i + 1], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--runs") == 0) {
            options.runs = (unsigned)strtoul(argv[i + 1], NULL, 10);
        } else {
            fprintf(stderr, "usage: bench-curation [--samples N] [--runs N]\n");
            return 2;
        }
    }
    if (options.samples < 1000 || options.runs < 1 || options.runs > RUNS_MAX) {
        die("--samples from 1000, --runs 1..99");
    }
    BUFFER(closing, 16 * 1024);
    static const size_t sizes[] = {1, 100, 10000};
    double whole[COUNT_OF(sizes)][COUNT_OF(cases)];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        run_size(sizes[i], &closing, whole[i]);
    }
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        buffer_printf(&closing, " %s_many=%.2f", cases[k].name, whole[2][k] / whole[1][k]);
    }
    printf("samples=%zu%.*s\n", options.samples, (int)closing.len, (const char *)closing.ptr);
    return 0;
}
