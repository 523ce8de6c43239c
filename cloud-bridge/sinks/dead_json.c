/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dead letters as the operator reads them.
 */
#include "cloud-bridge/sinks/dead.h"
#include "cloud-bridge/sinks/sinks_internal.h"

struct listing {
    struct json *j;
    const char *sink;
    size_t left;
};

static void write_letter(struct json *j, const struct dead_letter *letter)
{
    char ts[SINK_TIME_BYTES];
    const struct wire_forward *f = &letter->forward;
    sink_time(letter->time_us, ts);
    json_u64(j, "id", letter->id);
    json_str(j, "sink", letter->sink);
    json_str(j, "reason", letter->reason);
    json_str(j, "refused", ts);
    json_u64(j, "attempts", letter->attempts);
    json_str(j, "device", f->device);
    json_str(j, "gateway", f->gateway);
    json_hex(j, "epoch", f->epoch);
    json_u64(j, "lane", f->lane);
    json_u64(j, "first", f->first);
    json_u64(j, "last", f->last);
    json_u64(j, "bytes", f->record.len);
}

static bool list_letter(void *arg, const struct dead_letter *letter)
{
    struct listing *listing = arg;
    if (listing->sink != NULL && strcmp(listing->sink, letter->sink) != 0) {
        return true;
    }
    if (listing->left == 0) {
        return false;
    }
    listing->left--;
    json_object(listing->j, NULL);
    write_letter(listing->j, letter);
    json_object_end(listing->j);
    return true;
}

enum err dead_list_json(struct dead *dead, const char *sink, uint64_t from, size_t limit, struct json *j)
{
    struct listing listing = {.j = j, .sink = sink, .left = limit};
    json_object(j, NULL);
    json_str(j, "program", "bridge");
    json_u64(j, "count", dead_count(dead, sink));
    json_u64(j, "dropped", dead_dropped(dead));
    json_array(j, "letters");
    enum err err = dead_foreach(dead, from, list_letter, &listing);
    json_array_end(j);
    json_object_end(j);
    return err;
}

static enum err count_reading(void *arg, const struct sink_reading *reading)
{
    (void)reading;
    (*(uint64_t *)arg)++;
    return OK;
}

static enum err write_content(struct json *j, struct slice record)
{
    static const char digits[] = "0123456789abcdef";
    CLEANUP(sink_reader_deinit) struct sink_reader reader = {.kind = SINK_UNREAD};
    uint64_t readings = 0, earliest = 0, latest = 0;
    char ts[SINK_TIME_BYTES];
    TRY(sink_reader_init(&reader));
    sink_reader_read(&reader, record);
    TRY(sink_reader_foreach(&reader, count_reading, &readings));
    json_str(j, "kind", sink_kind_name(reader.kind));
    json_u64(j, "readings", readings);
    if (sink_reader_times(&reader, &earliest, &latest)) {
        sink_time(earliest, ts);
        json_str(j, "from", ts);
        sink_time(latest, ts);
        json_str(j, "to", ts);
    }
    BUFFER(hex, 2 * SPOOL_BODY_MAX);
    for (size_t i = 0; i < record.len; i++) {
        buffer_put_u8(&hex, (uint8_t)digits[record.ptr[i] >> 4]);
        buffer_put_u8(&hex, (uint8_t)digits[record.ptr[i] & 15]);
    }
    TRY(buffer_err(&hex));
    json_slice(j, "record", buffer_slice(&hex));
    return OK;
}

enum err dead_show_json(struct dead *dead, uint64_t id, struct json *j)
{
    struct dead_letter letter;
    BUFFER(bytes, SPOOL_BODY_MAX);
    TRY(dead_get(dead, id, &bytes, &letter));
    json_object(j, NULL);
    json_str(j, "program", "bridge");
    write_letter(j, &letter);
    enum err err = write_content(j, letter.forward.record);
    json_object_end(j);
    return err;
}
