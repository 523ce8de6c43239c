/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: bytes per value of our telemetry on real signals beside JSON, CBOR, Sparkplug B and plain protobuf encodings of
 * the same samples, and nanoseconds per value to decode them, in one run.
 *
 * Blocks of 8 channels x 32 samples. "12-bit": each channel quantised to its range / 4096, as a 12-bit sensor gives it;
 * "lossless": every decimal of the file is kept. Ours is the whole Record (clocks, description, every head), and beside
 * it the Frame of one record in one PUBLISH. decode: columns to integers, median of the runs.
 *
 *   bench-telemetry-size [--data DIR] [--blocks N] [--runs N]
 *
 * Closing line: bytes_per_value= (12-bit, whole Record) with_frame= lossless= lossless_with_frame= packed= json= cbor=
 * cbor_columns= sparkplug= sparkplug_block= entropy= decode_ns= (12-bit) check_ns= (per record) host= host_json=.
 * Exit 1 when bytes_per_value is above 1.6, or anything does not come back as it was.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/bench/telemetry.h"

enum { VALUES = TELEMETRY_CHANNELS * TELEMETRY_SAMPLES, HOST_ROWS = 96, RUNS_MAX = 99 };
#define LIMIT 1.6

static struct {
    const char *data;
    size_t blocks;
    unsigned runs;
} options = {.blocks = SIZE_MAX, .runs = 9};

/* Sums over the blocks of one series at one choice of resolutions. */
struct figures {
    double record, frame, columns; /* bytes per value */
    double decode_ns, check_ns, encode_ns;
    double entropy; /* bytes per value, order 0, of the differences */
};

static void die(const char *what)
{
    fprintf(stderr, "bench-telemetry-size: %s\n", what);
    exit(1);
}

/* Time on the processor: the machine may have other work. */
static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

static void fill_block(struct telemetry_block *b)
{
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        for (size_t i = 0; i < TELEMETRY_SAMPLES; i++) {
            double value = b->series->values[b->from + i][c];
            b->integers[c * TELEMETRY_SAMPLES + i] = block_quantise(value, b->resolutions[c]);
        }
    }
}

/* A column of time distances when the samples are not a second apart. */
static void put_times(const struct telemetry_block *b, Weir__V1__Block *block, struct buffer *out)
{
    int64_t distances[TELEMETRY_SAMPLES] = {0};
    bool regular = true;
    for (size_t i = 1; i < TELEMETRY_SAMPLES; i++) {
        const int64_t *t = b->series->time_us + b->from + i;
        distances[i] = t[0] - t[-1];
        regular &= distances[i] == SECOND_US;
    }
    if (regular) {
        block->period_us = SECOND_US;
    } else if (block_column_encode(distances, TELEMETRY_SAMPLES, out) == OK) {
        block->times = (ProtobufCBinaryData){out->len, out->ptr};
    }
}

/* The whole Record of a block. */
static void put_record(const struct telemetry_block *b, struct buffer *columns, struct buffer *out)
{
    BUFFER(times, BLOCK_COLUMN_BYTES(TELEMETRY_SAMPLES));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    buffer_reset(columns);
    if (block_encode(b->integers, b->resolutions, TELEMETRY_CHANNELS, TELEMETRY_SAMPLES, columns) != OK) {
        die("a block was not encoded");
    }
    put_times(b, &block, &times);
    block.set = 0x12345678;
    block.wall_us = (uint64_t)b->series->time_us[b->from];
    block.mono_us = (uint64_t)(DAY_US + (int64_t)b->from * SECOND_US);
    block.samples = TELEMETRY_SAMPLES;
    block.columns = (ProtobufCBinaryData){columns->len, columns->ptr};
    block.quality = WEIR__V1__CLOCK_QUALITY__NTP;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    if (wire_record_pack(&record, out) != OK) {
        die("a record was not packed");
    }
}

static size_t frame_bytes(struct slice record, size_t number)
{
    BUFFER(out, WIRE_FRAME_MAX);
    struct window_header header = {.epoch = 0x1122334455667788, .first = 100000 + number, .base = 99990 + number,
                                   .top = 100000 + number, .boot = 0x12345678, .lane = 1};
    if (wire_frame_encode("pump-17", &header, NULL, &record, 1, &out) != OK) {
        die("a frame was not encoded");
    }
    return out.len;
}

/* ---- decoding ---- */
struct encoded {
    struct buffer bytes;
    size_t *ends; /* [count] */
    size_t count;
};

static struct slice encoded_at(const struct encoded *e, size_t i)
{
    size_t from = i ? e->ends[i - 1] : 0;
    return slice_of(e->bytes.ptr + from, e->ends[i] - from);
}

static void encoded_init(struct encoded *e, size_t count)
{
    *e = (struct encoded){.ends = calloc(count + 1, sizeof(size_t)), .count = count};
    buffer_init(&e->bytes, (size_t)1 << 30);
    if (e->ends == NULL) {
        die("out of memory");
    }
}

static void encoded_deinit(struct encoded *e)
{
    free(e->ends);
    buffer_deinit(&e->bytes);
}

enum work { WORK_DECODE, WORK_CHECK };

static enum err do_work(struct slice in, enum work work)
{
    static int64_t values[VALUES];
    size_t channels;
    return work == WORK_DECODE ? block_decode(in, TELEMETRY_SAMPLES, TELEMETRY_CHANNELS, values, NULL, &channels)
                               : wire_record_check(in, 1, 1, NULL);
}

/* Nanoseconds per block, median of the runs; each run takes at least 20 ms. */
static double time_ours(const struct encoded *e, enum work work)
{
    double runs[RUNS_MAX];
    for (unsigned run = 0; run < options.runs; run++) {
        double start = now_ns(), end;
        size_t done = 0;
        do {
            for (size_t i = 0; i < e->count; i++) {
                if (do_work(encoded_at(e, i), work) != OK) {
                    die("a block did not come back");
                }
            }
            done += e->count;
            end = now_ns();
        } while (end - start < 20e6);
        runs[run] = (end - start) / (double)done;
    }
    return median(runs, options.runs);
}

static double time_encode(const struct telemetry_block *blocks, size_t count)
{
    double runs[RUNS_MAX];
    BUFFER(out, VALUES * 16);
    for (unsigned run = 0; run < options.runs; run++) {
        double start = now_ns();
        for (size_t i = 0; i < count; i++) {
            const struct telemetry_block *b = &blocks[i];
            buffer_reset(&out);
            if (block_encode(b->integers, b->resolutions, TELEMETRY_CHANNELS, TELEMETRY_SAMPLES, &out) != OK) {
                die("a block was not encoded");
            }
        }
        runs[run] = (now_ns() - start) / (double)count;
    }
    return median(runs, options.runs);
}

static double time_rival(const struct telemetry_rival *rival, const struct encoded *e)
{
    double runs[RUNS_MAX];
    unsigned count = options.runs < 3 ? options.runs : 3; /* some of them take long */
    for (unsigned run = 0; run < count; run++) {
        double start = now_ns();
        for (size_t i = 0; i < e->count; i++) {
            if (!rival->decode(encoded_at(e, i))) {
                die("a rival's block did not come back");
            }
        }
        runs[run] = (now_ns() - start) / (double)e->count / VALUES;
    }
    return median(runs, count);
}

/* ---- entropy ---- */
static int compare_integers(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Bytes per value if each channel's differences were coded at their order-0 entropy over the whole series. */
static double delta_entropy(const struct telemetry_series *s, const double *resolutions)
{
    double bits = 0;
    int64_t *delta = calloc(s->rows, sizeof(*delta));
    for (size_t c = 0; delta != NULL && c < TELEMETRY_CHANNELS; c++) {
        size_t n = s->rows - 1;
        for (size_t i = 0; i < n; i++) {
            delta[i] = block_quantise(s->values[i + 1][c], resolutions[c]) -
                       block_quantise(s->values[i][c], resolutions[c]);
        }
        qsort(delta, n, sizeof(*delta), compare_integers);
        for (size_t i = 0, j; i < n; i = j) {
            for (j = i; j < n && delta[j] == delta[i]; j++) {
            }
            double p = (double)(j - i) / (double)n;
            bits -= p * log2(p);
        }
    }
    free(delta);
    return bits / TELEMETRY_CHANNELS / 8;
}

/* ---- measuring ---- */
static void check_round_trip(const struct telemetry_block *b, struct slice columns)
{
    int64_t values[VALUES];
    double resolutions[TELEMETRY_CHANNELS];
    size_t channels = 0;
    if (block_decode(columns, TELEMETRY_SAMPLES, TELEMETRY_CHANNELS, values, resolutions, &channels) != OK ||
        channels != TELEMETRY_CHANNELS || memcmp(values, b->integers, sizeof(values)) != 0 ||
        memcmp(resolutions, b->resolutions, sizeof(resolutions)) != 0) {
        die("a block did not come back as it was");
    }
}

static struct figures measure_ours(const struct telemetry_block *blocks, size_t count)
{
    struct figures f = {0};
    struct encoded records, columns;
    BUFFER(one, VALUES * 16);
    encoded_init(&records, count);
    encoded_init(&columns, count);
    for (size_t i = 0; i < count; i++) {
        put_record(&blocks[i], &one, &records.bytes);
        records.ends[i] = records.bytes.len;
        check_round_trip(&blocks[i], buffer_slice(&one));
        buffer_put_slice(&columns.bytes, buffer_slice(&one));
        columns.ends[i] = columns.bytes.len;
        f.frame += (double)frame_bytes(encoded_at(&records, i), i);
    }
    double values = (double)count * VALUES;
    f.record = (double)records.bytes.len / values;
    f.columns = (double)columns.bytes.len / values;
    f.frame /= values;
    f.decode_ns = time_ours(&columns, WORK_DECODE) / VALUES;
    f.check_ns = time_ours(&records, WORK_CHECK);
    f.encode_ns = time_encode(blocks, count) / VALUES;
    f.entropy = delta_entropy(blocks[0].series, blocks[0].resolutions);
    encoded_deinit(&records);
    encoded_deinit(&columns);
    return f;
}

static void print_ours(const char *name, const struct figures *f)
{
    printf("%-36s %7.3f %7.3f %9.2f   columns %.3f, encode %.1f ns a value, check %.0f ns a record\n", name, f->record,
           f->frame, f->decode_ns, f->columns, f->encode_ns, f->check_ns);
}

/* Bytes per value; prints the row. */
static double measure_rival(const struct telemetry_rival *rival, const struct telemetry_block *blocks, size_t count,
                            double ours)
{
    struct encoded e;
    char decode[20] = "-";
    encoded_init(&e, count);
    for (size_t i = 0; i < count; i++) {
        rival->encode(&blocks[i], &e.bytes);
        e.ends[i] = e.bytes.len;
    }
    if (buffer_err(&e.bytes) != OK) {
        die("a rival's block was not encoded");
    }
    double bytes = (double)e.bytes.len / (double)count / VALUES;
    if (rival->decode != NULL) {
        snprintf(decode, sizeof(decode), "%.2f", time_rival(rival, &e));
    }
    printf("%-36s %7.3f %7s %9s   %.1f times ours\n", rival->name, bytes, "", decode, bytes / ours);
    encoded_deinit(&e);
    return bytes;
}

static struct telemetry_block *cut_blocks(const struct telemetry_series *s, const double *resolutions,
                                          size_t *ret_count)
{
    size_t count = s->rows / TELEMETRY_SAMPLES;
    count = count < options.blocks ? count : options.blocks;
    struct telemetry_block *blocks = calloc(count + 1, sizeof(*blocks));
    if (blocks == NULL || count == 0) {
        die("no block of samples");
    }
    for (size_t i = 0; i < count; i++) {
        blocks[i].series = s;
        blocks[i].from = i * TELEMETRY_SAMPLES;
        blocks[i].resolutions = resolutions;
        fill_block(&blocks[i]);
    }
    *ret_count = count;
    return blocks;
}

static void print_head(const char *what, size_t count)
{
    printf("\n%s: %zu blocks of %d x %d\n%-36s %7s %7s %9s\n", what, count, TELEMETRY_CHANNELS, TELEMETRY_SAMPLES,
           "bytes per value", "message", "+Frame", "decode ns");
}

/* Everything on one series; appends to the closing line. Returns the bytes per value that have a limit. */
static double run_skab(const struct telemetry_series *s, struct buffer *closing)
{
    double coarse[TELEMETRY_CHANNELS];
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        coarse[c] = block_resolution_round((s->high[c] - s->low[c]) / 4096);
    }
    size_t count;
    struct telemetry_block *blocks = cut_blocks(s, coarse, &count);
    print_head("SKAB anomaly-free", count);
    struct figures twelve = measure_ours(blocks, count);
    print_ours("weir, 12-bit sensors", &twelve);
    double packed = measure_rival(&telemetry_packed, blocks, count, twelve.record);
    free(blocks);
    blocks = cut_blocks(s, s->decimal, &count);
    struct figures exact = measure_ours(blocks, count);
    print_ours("weir, lossless decimals", &exact);
    double packed_exact = measure_rival(&telemetry_packed, blocks, count, exact.record);
    double json = measure_rival(&telemetry_json, blocks, count, twelve.record);
    double cbor = measure_rival(&telemetry_cbor_rows, blocks, count, twelve.record);
    double cbor_columns = measure_rival(&telemetry_cbor_columns, blocks, count, twelve.record);
    double sparkplug = measure_rival(&telemetry_sparkplug_rows, blocks, count, twelve.record);
    double sparkplug_block = measure_rival(&telemetry_sparkplug_block, blocks, count, twelve.record);
    printf("entropy of the differences (order 0)   12-bit %.3f, lossless %.3f\n", twelve.entropy, exact.entropy);
    buffer_printf(closing, "bytes_per_value=%.3f with_frame=%.3f lossless=%.3f lossless_with_frame=%.3f packed=%.3f "
                  "packed_lossless=%.3f json=%.2f cbor=%.2f cbor_columns=%.2f sparkplug=%.2f sparkplug_block=%.2f "
                  "entropy=%.3f decode_ns=%.2f decode_lossless_ns=%.2f check_ns=%.0f ",
                  twelve.record, twelve.frame, exact.record, exact.frame, packed, packed_exact, json, cbor,
                  cbor_columns, sparkplug, sparkplug_block, twelve.entropy, twelve.decode_ns, exact.decode_ns,
                  twelve.check_ns);
    free(blocks);
    return twelve.record;
}

static void run_host(struct buffer *closing)
{
    struct telemetry_series s;
    size_t count;
    fprintf(stderr, "sampling this machine ...\n");
    if (telemetry_sample_host(HOST_ROWS, 18 * MS_US, &s) != OK) {
        die("out of memory");
    }
    struct telemetry_block *blocks = cut_blocks(&s, s.decimal, &count);
    print_head("this machine", count);
    struct figures f = measure_ours(blocks, count);
    print_ours("weir", &f);
    measure_rival(&telemetry_packed, blocks, count, f.record);
    double json = measure_rival(&telemetry_json, blocks, count, f.record);
    measure_rival(&telemetry_cbor_rows, blocks, count, f.record);
    measure_rival(&telemetry_cbor_columns, blocks, count, f.record);
    double sparkplug = measure_rival(&telemetry_sparkplug_rows, blocks, count, f.record);
    measure_rival(&telemetry_sparkplug_block, blocks, count, f.record);
    buffer_printf(closing, "host=%.3f host_json=%.2f host_sparkplug=%.2f", f.record, json, sparkplug);
    free(blocks);
    telemetry_free(&s);
}

static void usage(FILE *to)
{
    fprintf(to, "Usage: tests/bench/telemetry_size [--data DIR] [--blocks N] [--runs N]\n"
                "Bytes per value of telemetry beside JSON, CBOR, Sparkplug B and protobuf, and the time to decode it.\n"
                "  --data DIR   data sets; DIR/skab is read (default: ../shared/data beside the checkout)\n"
                "  --blocks N   blocks of 8 x 32 values of SKAB (default: all)\n"
                "  --runs N     repetitions of each timing, 1..99 (default 9)\n");
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {{"data", required_argument, NULL, 'd'},
                                          {"blocks", required_argument, NULL, 'b'},
                                          {"runs", required_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'd': options.data = optarg; break;
        case 'b': options.blocks = strtoul(optarg, NULL, 10); break;
        case 'r': options.runs = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (optind != argc || options.blocks == 0 || options.runs == 0 || options.runs > RUNS_MAX) {
        usage(stderr);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    char path[4096];
    struct telemetry_series skab;
    BUFFER(closing, 4096);
    double bytes = 0;
    snprintf(path, sizeof(path), "%s/skab/anomaly-free/anomaly-free.csv", options.data ? options.data : ".");
    fprintf(stderr, "reading %s ...\n", path);
    enum err err = options.data ? telemetry_load_csv(path, &skab) : ERR_NOT_FOUND;
    if (err == OK) {
        bytes = run_skab(&skab, &closing);
        telemetry_free(&skab);
    } else if (err == ERR_NOT_FOUND) {
        printf("skipped: no data\n");
    } else {
        die("the data set was not read");
    }
    run_host(&closing);
    buffer_put_u8(&closing, '\0');
    if (buffer_err(&closing) != OK) {
        die("out of memory");
    }
    printf("\n%s\n", (const char *)closing.ptr);
    if (bytes > LIMIT) {
        fprintf(stderr, "bytes_per_value is %.3f, at most %.1f is asked for\n", bytes, LIMIT);
        return 1;
    }
    return err == OK ? 0 : 77; /* 77: the limit was not held against anything */
}
