/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are taken for a stream's state encode to a state that is taken again and encodes to the same bytes; the
 * stream then takes records, and what it lets go every receiver takes.
 *   input = choice u8 (0: the state is of these rules, 1: of others) | length u16le, state | (length u16le, record)*
 */
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/cursor.h"
#include "proto/curate/curate.h"
#include "proto/rules/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] = "rules:\n"
                           "  good: {do: range, max: 1000, otherwise: flag}\n"
                           "  once: {channels: d, do: dedupe}\n"
                           "  near: {channels: a, do: deadband, abs: 2, heartbeat: 10s}\n"
                           "  door: {channels: b, do: swinging-door, abs: 3}\n"
                           "  slow: {channels: c, do: rate, rate: 0.5}\n"
                           "  few: {channels: d, do: downsample, every: 3s, by: mean}\n"
                           "  win: {channels: e, do: window, length: 4s, every: 2s, late: 1s, quantiles: [0.5]}\n"
                           "  all: {channels: e, do: merge, of: win, length: 8s}\n"
                           "  spec: {channels: f, do: spectrum, samples: 16, bands: [0-1]}\n"
                           "  look: {channels: a, do: capture, above: 50, after: 2s}\n";
static struct rules *rules;
static struct curate *curate;

static void prepare(void)
{
    char path[] = "/tmp/weir-curate-XXXXXX";
    int fd = mkstemp(path);
    assert(fd >= 0 && write(fd, text, sizeof(text) - 1) == (ssize_t)sizeof(text) - 1);
    (void)close(fd);
    BUFFER(problems, 4096);
    assert(rules_load(path, &rules, &problems) == OK);
    (void)unlink(path);
    assert(curate_new(rules, &(struct curate_options){.stream_bytes = 4096}, &curate) == OK);
}

static struct slice next_part(struct cursor *c)
{
    size_t low = cursor_u8(c), len = low | (size_t)cursor_u8(c) << 8;
    return cursor_bytes(c, min_u64(len, cursor_left(c)));
}

static void feed(struct curate_stream *stream, struct cursor *in)
{
    while (cursor_left(in) > 2) {
        struct curate_result result;
        struct slice record = next_part(in);
        /* As in a gateway: what was not checked does not come in. */
        if (wire_record_check(record, 1, 1, NULL) == OK) {
            assert(curate_record(curate, stream, record, &result) == OK);
            assert(result.outcome != CURATE_SHAPED || wire_record_check(result.record, 1, 1, NULL) == OK);
        } else {
            (void)!curate_record(curate, stream, record, &result);
        }
    }
    BUFFER(out, 1 << 26);
    assert(curate_stream_encode(stream, &out) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct curate_stream *stream = NULL;
    struct cursor in = cursor_of(slice_of(data, size));
    if (rules == NULL) {
        prepare();
    }
    uint8_t choice = cursor_u8(&in);
    struct slice given = next_part(&in);
    if (in.failed || given.len < 10) {
        return 0;
    }
    uint8_t *state = malloc(given.len);
    assert(state != NULL);
    memcpy(state, given.ptr, given.len);
    uint64_t version = rules_version(rules) + (choice & 1);
    memcpy(state + 1, &version, 8);
    if (curate_stream_new(curate, "pump-7", slice_of(state, given.len), &stream) == OK) {
        BUFFER(first, 1 << 26);
        BUFFER(second, 1 << 26);
        assert(curate_stream_encode(stream, &first) == OK);
        struct curate_stream *again = NULL;
        assert(curate_stream_new(curate, "pump-7", buffer_slice(&first), &again) == OK);
        assert(curate_stream_encode(again, &second) == OK);
        assert(slice_equal(buffer_slice(&first), buffer_slice(&second)));
        feed(again, &in);
        curate_stream_free(again);
        curate_stream_free(stream);
    }
    free(state);
    return 0;
}
