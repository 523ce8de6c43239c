/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever a sender publishes, the gateway stays up, keeps exactly what is sound, declares what is not, tells
 * who did it, and loses nothing of the others.
 */
#include "gateway/ingest/ingest.h"

#include "proto/block/block.h"
#include "proto/path/path.h"
#include "proto/topic/topic.h"
#include "tests/support/check.h"

enum { TABLE_SPOOL, TABLE_META, TABLE_STREAMS, TABLES };
enum { EPOCH = 0x1234, BOOT = 77 };

struct rig {
    struct loop_world *world;
    struct bus_hub *hub;
    struct loop *loop, *sender_loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct bus *bus, *sender;
    struct fleet *fleet;
    struct ingest *ingest;
    bool created;
    unsigned answers;
    struct wire_ack ack; /* the last */
    char ack_topic[TOPIC_MAX + 1];
};

static void run(struct rig *r)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + 100 * MS_US);
}

static void on_created(void *arg, enum err result)
{
    struct rig *r = arg;
    CHECK_OK(result);
    spool_settle(r->spools[0], 0, OK);
    spool_settle(r->spools[1], 0, OK);
    r->created = true;
}

static void on_answer(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig *r = arg;
    CHECK(!retained);
    CHECK_OK(wire_ack_decode(payload, &r->ack));
    memcpy(r->ack_topic, topic.ptr, topic.len);
    r->ack_topic[topic.len] = '\0';
    r->answers++;
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    (void)arg;
    (void)state;
    (void)reason;
}

static void on_durable(void *arg)
{
    (void)arg;
}

static void make_store(struct rig *r)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_disk_new(64 << 20, &r->disk));
    CHECK_OK(store_open_memory(r->loop, r->disk, TABLES, &r->store));
    CHECK_OK(store_batch_new(r->store, &batch));
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options options = {.table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = i};
        CHECK_OK(spool_open(r->loop, r->store, &options, &r->spools[i], NULL));
        CHECK_OK(spool_create(r->spools[i], batch));
    }
    CHECK_OK(store_commit(r->store, batch, on_created, r));
    run(r);
    CHECK(r->created);
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    CHECK_OK(loop_world_new(1, &r->world));
    CHECK_OK(bus_hub_new(r->world, &r->hub));
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    CHECK_OK(loop_new_virtual(r->world, &r->sender_loop));
    make_store(r);
    CHECK_OK(fleet_new(r->loop, &(struct fleet_options){.frames_per_s = 1000}, &r->fleet));
    CHECK_OK(bus_new_memory(r->hub, r->loop, "gw", &r->bus));
    struct ingest_options options = {.site = "site", .gateway = "gw", .inbox = {.stream_table = TABLE_STREAMS}};
    CHECK_OK(ingest_new(r->loop, r->bus, r->store, r->spools, r->fleet, &options,
                        &(struct ingest_handlers){.on_durable = on_durable}, &r->ingest, NULL));
    CHECK_OK(bus_start(r->bus));
    CHECK_OK(bus_new_memory(r->hub, r->sender_loop, "sender", &r->sender));
    bus_set_handlers(r->sender, &(struct bus_handlers){.on_message = on_answer, .on_state = on_state, .arg = r});
    CHECK_OK(bus_subscribe(r->sender, "weir/v1/site/gw/+/ack", 0));
    CHECK_OK(bus_start(r->sender));
    run(r);
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    bus_free(r->sender);
    bus_free(r->bus);
    ingest_free(r->ingest);
    fleet_free(r->fleet);
    spool_free(r->spools[0]);
    spool_free(r->spools[1]);
    store_close(r->store);
    store_disk_free(r->disk);
    loop_free(r->loop);
    loop_free(r->sender_loop);
    bus_hub_free(r->hub);
    loop_world_free(r->world);
    free(r);
    return 0;
}

/* ---- making frames ---- */
static void publish(struct rig *r, const char *device, enum topic_channel channel, struct slice payload, bool retain)
{
    char topic[TOPIC_MAX + 1];
    topic_format("site", "gw", device, channel, topic);
    CHECK_OK(bus_publish(r->sender, slice_str(topic), payload, 0, retain));
    run(r);
}

static void sound_record(struct buffer *out)
{
    const int64_t values[] = {1, 2, 3, 4};
    const double resolutions[] = {0.5};
    BUFFER(columns, 1024);
    CHECK_OK(block_encode(values, resolutions, 1, 4, &columns));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.samples = 4;
    block.period_us = 1000;
    block.wall_us = 1;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    CHECK_OK(wire_record_pack(&record, out));
}

static struct window_header header_of(uint64_t first, uint64_t last)
{
    return (struct window_header){.epoch = EPOCH,
                                  .first = first,
                                  .last = last,
                                  .base = 1,
                                  .top = last,
                                  .boot = BOOT,
                                  .lane = 1,
                                  .has_hello = true,
                                  .boot_seq = 1};
}

static void send_frame(struct rig *r, const char *device, const char *sender, enum topic_channel channel,
                       const struct window_header *header, const struct slice *bodies, size_t count)
{
    BUFFER(frame, WIRE_FRAME_MAX);
    CHECK_OK(wire_frame_encode(sender, header, "test", bodies, count, &frame));
    publish(r, device, channel, buffer_slice(&frame), false);
}

/* One sound record with this number. */
static void send_sound(struct rig *r, const char *device, uint64_t number)
{
    BUFFER(record, 4096);
    struct window_header header = header_of(number, number);
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    send_frame(r, device, device, TOPIC_TELE, &header, &body, 1);
}

/* ---- looking into the spool ---- */
struct found {
    unsigned count;
    struct wire_forward last;
    Weir__V1__Record *record;
    struct arena arena;
    uint8_t body[8192];
};

static bool look(void *arg, const struct spool_entry *entry)
{
    struct found *f = arg;
    CHECK(!entry->damaged && entry->body.len <= sizeof(f->body));
    memcpy(f->body, entry->body.ptr, entry->body.len);
    CHECK_OK(wire_forward_decode(slice_of(f->body, entry->body.len), &f->last));
    CHECK_INT(f->last.last - f->last.first, entry->last - entry->first);
    f->count++;
    return true;
}

static void look_at_last(struct rig *r, uint8_t lane, struct found *f)
{
    memset(f, 0, sizeof(*f));
    CHECK_OK(arena_init(&f->arena, WIRE_ARENA_BYTES));
    CHECK_OK(spool_read(r->spools[lane], 1, look, f));
    CHECK(f->count > 0);
    CHECK_OK(wire_record_unpack(f->last.record, &f->arena, &f->record));
}

static unsigned entries_in(struct rig *r, uint8_t lane)
{
    struct found f = {.count = 0};
    CHECK_OK(spool_read(r->spools[lane], 1, look, &f));
    return f.count;
}

static struct receive_stats stats_of(struct rig *r)
{
    struct receive_stats stats;
    ingest_stats(r->ingest, &stats);
    return stats;
}

/* ---- the tests ---- */
static void a_sound_record_is_kept_as_it_came_and_acknowledged_when_durable(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(record, 4096);
    sound_record(&record);
    send_sound(r, "pump-7", 1);
    CHECK_INT(r->answers, 1);
    CHECK_STR(r->ack_topic, "weir/v1/site/gw/pump-7/ack");
    CHECK_INT(r->ack.verdict, WINDOW_ACCEPT);
    CHECK_INT(r->ack.hwm, 1);
    CHECK_INT(r->ack.boot, BOOT);
    CHECK_INT(r->ack.lane, 1);
    look_at_last(r, 1, &f);
    CHECK_STR(f.last.device, "pump-7");
    CHECK_STR(f.last.gateway, "gw");
    CHECK_INT(f.last.epoch, EPOCH);
    CHECK_INT(f.last.first, 1);
    CHECK_INT(f.last.top, 1);
    CHECK(f.last.received_us > 0);
    CHECK(slice_equal(f.last.record, buffer_slice(&record)));
    arena_deinit(&f.arena);
}

static void a_frame_in_anothers_name_is_refused_without_an_answer(void **state)
{
    struct rig *r = *state;
    BUFFER(record, 4096);
    struct window_header header = header_of(1, 1);
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    send_frame(r, "pump-7", "pump-8", TOPIC_TELE, &header, &body, 1);
    CHECK_INT(stats_of(r).identity_errors, 1);
    CHECK_INT(r->answers, 0);
    CHECK_INT(entries_in(r, 1), 0);
    CHECK(inbox_stream(ingest_inbox(r->ingest), "pump-8", EPOCH) == NULL);
    BUFFER(text, 4096);
    fleet_json(r->fleet, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"device\":\"pump-7\"");
    CHECK_CONTAINS((const char *)text.ptr, "\"refused\":1");
}

static void a_device_with_the_gateways_own_name_is_refused(void **state)
{
    struct rig *r = *state;
    send_sound(r, "gw", 1);
    CHECK_INT(stats_of(r).identity_errors, 1);
    CHECK_INT(entries_in(r, 1), 0);
}

static void a_retained_message_is_ignored_and_counted(void **state)
{
    struct rig *r = *state;
    BUFFER(record, 4096);
    BUFFER(frame, 8192);
    struct window_header header = header_of(1, 1);
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    CHECK_OK(wire_frame_encode("pump-7", &header, "test", &body, 1, &frame));
    bus_hub_set_link(r->hub, "gw", BUS_LINK_DOWN); /* retained copies come to those who subscribe later */
    run(r);
    publish(r, "pump-7", TOPIC_TELE, buffer_slice(&frame), true);
    bus_hub_set_link(r->hub, "gw", BUS_LINK_UP);
    loop_world_run(r->world, loop_world_now_us(r->world) + 60 * SECOND_US);
    CHECK_INT(stats_of(r).retained_ignored, 1);
    CHECK_INT(stats_of(r).frames, 0);
    CHECK_INT(entries_in(r, 1), 0);
}

static void garbage_of_any_length_is_refused_and_the_others_go_on(void **state)
{
    struct rig *r = *state;
    uint8_t garbage[3000];
    uint64_t seed = 7;
    for (unsigned i = 0; i < 500; i++) {
        size_t len = i < 2 ? i : mix_u64(seed++) % sizeof(garbage);
        for (size_t at = 0; at < len; at++) {
            garbage[at] = (uint8_t)mix_u64(seed++);
        }
        publish(r, "evil", i % 2 ? TOPIC_TELE : TOPIC_UP, slice_of(garbage, len), false);
    }
    CHECK_INT(stats_of(r).decode_errors + stats_of(r).identity_errors, 500);
    CHECK_INT(r->answers, 0);
    send_sound(r, "good", 1);
    CHECK_INT(r->ack.hwm, 1);
    CHECK_INT(entries_in(r, 1), 1);
}

static void a_frame_cut_anywhere_is_refused_or_says_less_but_never_harms(void **state)
{
    struct rig *r = *state;
    BUFFER(record, 4096);
    BUFFER(frame, 8192);
    struct window_header header = header_of(1, 3);
    sound_record(&record);
    struct slice bodies[3] = {buffer_slice(&record), buffer_slice(&record), buffer_slice(&record)};
    CHECK_OK(wire_frame_encode("pump-7", &header, "test", bodies, 3, &frame));
    for (size_t len = 0; len < frame.len; len++) {
        publish(r, "pump-7", TOPIC_TELE, slice_of(frame.ptr, len), false);
    }
    CHECK_INT(stats_of(r).records_refused, 0);
    publish(r, "pump-7", TOPIC_TELE, buffer_slice(&frame), false);
    CHECK_INT(r->ack.hwm, 3);
    CHECK_INT(entries_in(r, 1), 3);
}

static void numbers_out_of_all_bounds_are_refused(void **state)
{
    struct rig *r = *state;
    const struct window_header bad[] = {
        {.epoch = EPOCH, .first = 0, .last = 0, .base = 0, .top = 0, .boot = BOOT, .lane = 1, .has_hello = true},
        {.epoch = EPOCH, .first = UINT64_MAX, .last = UINT64_MAX, .base = UINT64_MAX, .top = UINT64_MAX, .boot = BOOT,
         .lane = 1, .has_hello = true},
        {.epoch = EPOCH, .first = RECEIVE_NUMBER_MAX + 1, .last = RECEIVE_NUMBER_MAX + 1,
         .base = RECEIVE_NUMBER_MAX + 1, .top = RECEIVE_NUMBER_MAX + 1, .boot = BOOT, .lane = 1, .has_hello = true},
        {.epoch = 0, .first = 1, .last = 1, .base = 1, .top = 1, .boot = BOOT, .lane = 1, .has_hello = true},
        {.epoch = EPOCH, .first = 1, .last = 1, .base = 1, .top = 1, .boot = BOOT, .lane = 2, .has_hello = true},
        {.epoch = EPOCH, .first = 1, .last = 1, .base = 1, .top = 1, .boot = BOOT, .lane = 255, .has_hello = true},
    };
    BUFFER(record, 4096);
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        BUFFER(frame, 8192);
        if (wire_frame_encode("pump-7", &bad[i], "test", &body, 1, &frame) == OK) {
            publish(r, "pump-7", TOPIC_TELE, buffer_slice(&frame), false);
        }
    }
    CHECK_INT(entries_in(r, 1) + entries_in(r, 0), 0);
    send_sound(r, "pump-7", 1);
    CHECK_INT(entries_in(r, 1), 1);
    CHECK(spool_next(r->spools[1]) == 2);
}

static void a_hole_is_answered_with_what_is_durable_and_nothing_behind_it_is_kept(void **state)
{
    struct rig *r = *state;
    send_sound(r, "pump-7", 1);
    send_sound(r, "pump-7", 5);
    CHECK_INT(r->ack.verdict, WINDOW_HOLE);
    CHECK_INT(r->ack.hwm, 1);
    CHECK_INT(entries_in(r, 1), 1);
}

static void an_overlap_is_kept_once(void **state)
{
    struct rig *r = *state;
    BUFFER(record, 4096);
    sound_record(&record);
    struct slice bodies[] = {buffer_slice(&record), buffer_slice(&record), buffer_slice(&record)};
    struct window_header one = header_of(1, 3), two = header_of(2, 4);
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &one, bodies, 3);
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &two, bodies, 3);
    CHECK_INT(r->ack.hwm, 4);
    CHECK_INT(entries_in(r, 1), 4);
}

static void a_bad_record_becomes_a_declared_gap_and_the_stream_goes_on(void **state)
{
    struct rig *r = *state;
    struct found f;
    const uint8_t no_block[] = {0x08, 0x01, 0x52, 0x02, 0x20, 0x04}; /* schema 1, block of 4 samples without columns */
    struct window_header header = header_of(1, 1);
    struct slice body = slice_of(no_block, sizeof(no_block));
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    CHECK_INT(stats_of(r).records_refused, 1);
    CHECK_INT(r->ack.hwm, 1);
    look_at_last(r, 1, &f);
    CHECK_INT(f.record->kind_case, WEIR__V1__RECORD__KIND_GAP);
    CHECK_INT(f.record->gap->reason, WEIR__V1__GAP_REASON__DAMAGED);
    CHECK_INT(f.record->gap->from, 1);
    CHECK_INT(f.record->gap->to, 1);
    arena_deinit(&f.arena);
    CHECK_INT(inbox_stream(ingest_inbox(r->ingest), "pump-7", EPOCH)->gaps, 1);
    send_sound(r, "pump-7", 2);
    CHECK_INT(r->ack.hwm, 2);
}

static void a_gap_that_names_other_numbers_than_its_own_is_not_believed(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(gap, 4096);
    struct window_header header = header_of(1, 10);
    CHECK_OK(wire_gap_pack(901, 910, WEIR__V1__GAP_REASON__OVERFLOW, 1, &gap));
    struct slice body = buffer_slice(&gap);
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    look_at_last(r, 1, &f);
    CHECK_INT(f.record->gap->from, 1);
    CHECK_INT(f.record->gap->to, 10);
    CHECK_INT(f.record->gap->reason, WEIR__V1__GAP_REASON__DAMAGED);
    arena_deinit(&f.arena);
}

static void of_a_gap_that_reaches_back_only_the_new_part_is_kept(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(gap, 4096);
    struct window_header header = header_of(1, 10);
    send_sound(r, "pump-7", 1);
    send_sound(r, "pump-7", 2);
    CHECK_OK(wire_gap_pack(1, 10, WEIR__V1__GAP_REASON__OVERFLOW, 1, &gap));
    struct slice body = buffer_slice(&gap);
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    CHECK_INT(r->ack.hwm, 10);
    look_at_last(r, 1, &f);
    CHECK_INT(f.last.first, 3);
    CHECK_INT(f.last.last, 10);
    CHECK_INT(f.record->gap->from, 3);
    CHECK_INT(f.record->gap->to, 10);
    CHECK_INT(f.record->gap->reason, WEIR__V1__GAP_REASON__OVERFLOW);
    CHECK_INT(stats_of(r).records_refused, 0);
    CHECK_INT(inbox_stream(ingest_inbox(r->ingest), "pump-7", EPOCH)->gaps, 8);
    arena_deinit(&f.arena);
}

static void a_device_that_trimmed_what_we_do_not_know_makes_us_declare_it(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(record, 4096);
    struct window_header header = header_of(8, 8);
    header.base = 8;
    header.boot_top = 8;
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    CHECK_INT(r->ack.hwm, 8);
    CHECK_INT(entries_in(r, 1), 2);
    CHECK_INT(spool_durable(r->spools[1]), 8);
    CHECK_INT(inbox_stream(ingest_inbox(r->ingest), "pump-7", EPOCH)->gaps, 7);
    look_at_last(r, 1, &f);
    CHECK_INT(f.last.first, 8);
    arena_deinit(&f.arena);
}

static void a_record_of_a_later_schema_is_passed_on_unread(void **state)
{
    struct rig *r = *state;
    struct found f = {.count = 0};
    const uint8_t later[] = {0x08, 0x63, 0xa2, 0x06, 0x03, 'n', 'e', 'w'}; /* schema 99, field 100 */
    struct window_header header = header_of(1, 1);
    struct slice body = slice_of(later, sizeof(later));
    send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    CHECK_INT(stats_of(r).records_refused, 0);
    CHECK_OK(spool_read(r->spools[1], 1, look, &f));
    CHECK(slice_equal(f.last.record, body));
}

static void a_forward_of_a_child_gateway_is_passed_on_unchanged(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(record, 4096);
    BUFFER(forward, 8192);
    struct wire_forward in = {.device = "valve-3", .gateway = "line", .epoch = 99, .first = 41, .last = 41, .top = 50,
                              .received_us = 123, .lane = 1};
    sound_record(&record);
    in.record = buffer_slice(&record);
    CHECK_OK(wire_forward_encode(&in, &forward));
    struct window_header header = header_of(1, 1);
    struct slice body = buffer_slice(&forward);
    send_frame(r, "line", "line", TOPIC_UP, &header, &body, 1);
    CHECK_INT(r->ack.hwm, 1);
    look_at_last(r, 1, &f);
    CHECK(slice_equal(slice_of(f.body, body.len), body));
    arena_deinit(&f.arena);
}

static void a_forward_that_contradicts_itself_becomes_a_gap_of_the_hop(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(record, 4096);
    BUFFER(forward, 8192);
    struct wire_forward in = {.device = "valve-3", .gateway = "line", .epoch = 99, .first = 41, .last = 45, .top = 50,
                              .received_us = 123, .lane = 1};
    sound_record(&record); /* covers one number, not five */
    in.record = buffer_slice(&record);
    CHECK_OK(wire_forward_encode(&in, &forward));
    struct window_header header = header_of(1, 5);
    struct slice body = buffer_slice(&forward);
    send_frame(r, "line", "line", TOPIC_UP, &header, &body, 1);
    CHECK_INT(stats_of(r).records_refused, 1);
    CHECK_INT(r->ack.hwm, 5);
    look_at_last(r, 1, &f);
    CHECK_STR(f.last.device, "line");
    CHECK(receive_is_hop(&f.last));
    CHECK_INT(f.last.epoch, EPOCH);
    CHECK_INT(f.record->gap->to, 5);
    arena_deinit(&f.arena);
}

static void a_forward_whose_record_covers_more_than_it_says_becomes_a_gap_of_the_hop(void **state)
{
    struct rig *r = *state;
    struct found f;
    BUFFER(gap, 4096);
    BUFFER(forward, 8192);
    struct wire_forward in = {.device = "valve-3", .gateway = "line", .epoch = 99, .first = 41, .last = 41, .top = 50,
                              .received_us = 123, .lane = 1};
    CHECK_OK(wire_gap_pack(41, 45, WEIR__V1__GAP_REASON__OVERFLOW, 1, &gap));
    in.record = buffer_slice(&gap);
    CHECK_OK(wire_forward_encode(&in, &forward));
    struct window_header header = header_of(1, 1);
    struct slice body = buffer_slice(&forward);
    send_frame(r, "line", "line", TOPIC_UP, &header, &body, 1);
    CHECK_INT(stats_of(r).records_refused, 1);
    look_at_last(r, 1, &f);
    CHECK(receive_is_hop(&f.last));
    arena_deinit(&f.arena);
}

static void a_device_over_its_quota_is_dropped_and_counted(void **state)
{
    struct rig *r = *state;
    char topic[TOPIC_MAX + 1];
    fleet_set_options(r->fleet, &(struct fleet_options){.frames_per_s = 10});
    topic_format("site", "gw", "wild", TOPIC_TELE, topic);
    for (unsigned i = 0; i < 100; i++) {
        CHECK_OK(bus_publish(r->sender, slice_str(topic), slice_str("?"), 0, false));
    }
    run(r);
    CHECK_INT(stats_of(r).quota_dropped, 90);
    send_sound(r, "calm", 1);
    CHECK_INT(r->ack.hwm, 1);
}

static void a_sender_with_more_streams_than_it_may_have_is_refused_and_counted(void **state)
{
    struct rig *r = *state;
    struct inbox_stats stats;
    BUFFER(record, 4096);
    sound_record(&record);
    struct slice body = buffer_slice(&record);
    fleet_set_options(r->fleet, &(struct fleet_options){.frames_per_s = 100000});
    for (uint64_t epoch = 1; epoch <= 1025; epoch++) {
        struct window_header header = header_of(1, 1);
        header.epoch = epoch;
        send_frame(r, "pump-7", "pump-7", TOPIC_TELE, &header, &body, 1);
    }
    inbox_stats(ingest_inbox(r->ingest), &stats);
    CHECK_INT(stats.streams, 1024);
    CHECK_INT(stats.too_many, 1);
    BUFFER(text, 4096);
    fleet_json(r->fleet, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"refused\":1");
}

static void while_held_nothing_is_taken_and_afterwards_everything_is(void **state)
{
    struct rig *r = *state;
    ingest_hold(r->ingest, true);
    send_sound(r, "pump-7", 1);
    CHECK_INT(r->answers, 0);
    ingest_hold(r->ingest, false);
    send_sound(r, "pump-7", 1);
    CHECK_INT(r->ack.hwm, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

/* ---- the path up ---- */
/* What a gateway below sends to learn it: a frame of a boot that nobody has. */
static void probe(struct rig *r, const char *sender, enum topic_channel channel)
{
    struct window_header header = header_of(1, 1);
    BUFFER(body, 4096);
    header.has_hello = false;
    header.boot = 99;
    if (channel == TOPIC_UP) {
        CHECK_OK(receive_hop_gap(sender, EPOCH, 1, 1, 1, WEIR__V1__GAP_REASON__OVERFLOW, 0, &body));
    } else {
        sound_record(&body);
    }
    struct slice bodies[] = {buffer_slice(&body)};
    send_frame(r, sender, sender, channel, &header, bodies, 1);
}

static void a_gateway_below_that_asks_is_told_the_path_and_each_change_of_it(void **state)
{
    struct rig *r = *state;
    struct path path;
    probe(r, "line", TOPIC_UP);
    CHECK_INT(r->answers, 1);
    CHECK_INT(r->ack.verdict, WINDOW_NEED_HELLO);
    CHECK_INT(r->ack.boot, 99);
    CHECK_INT(r->ack.path_count, 1);
    uint32_t hash = r->ack.path_hash;
    path_begin(&path, "site", "gw");
    CHECK_INT(hash, path_hash(&path));
    struct inbox_stats stats;
    inbox_stats(ingest_inbox(r->ingest), &stats);
    CHECK_INT(stats.streams, 0); /* asking leaves nothing behind */

    CHECK_OK(path_add(&path, slice_str("hq/bridge")));
    ingest_set_path(r->ingest, &path);
    run(r);
    CHECK_INT(r->answers, 2); /* without having asked again */
    CHECK_STR(r->ack_topic, "weir/v1/site/gw/line/ack");
    CHECK_INT(r->ack.path_count, 2);
    CHECK(r->ack.path_hash != hash && r->ack.boot == 99);
}

static void devices_are_told_no_path(void **state)
{
    struct rig *r = *state;
    struct path path;
    probe(r, "line", TOPIC_UP); /* also when there is a gateway below */
    probe(r, "pump", TOPIC_TELE);
    CHECK_INT(r->answers, 2);
    CHECK_INT(r->ack.verdict, WINDOW_NEED_HELLO);
    CHECK(r->ack.path_count == 0 && r->ack.path_hash == 0);
    send_sound(r, "pump", 1);
    CHECK_INT(r->ack.verdict, WINDOW_ACCEPT);
    CHECK(r->ack.path_count == 0 && r->ack.path_hash == 0);
    path_begin(&path, "site", "gw");
    CHECK_OK(path_add(&path, slice_str("hq/bridge")));
    ingest_set_path(r->ingest, &path);
    run(r);
    CHECK_STR(r->ack_topic, "weir/v1/site/gw/line/ack"); /* the last: nobody but the line */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_gateway_below_that_asks_is_told_the_path_and_each_change_of_it),
        TEST(devices_are_told_no_path),
        TEST(a_sound_record_is_kept_as_it_came_and_acknowledged_when_durable),
        TEST(a_frame_in_anothers_name_is_refused_without_an_answer),
        TEST(a_device_with_the_gateways_own_name_is_refused),
        TEST(a_retained_message_is_ignored_and_counted),
        TEST(garbage_of_any_length_is_refused_and_the_others_go_on),
        TEST(a_frame_cut_anywhere_is_refused_or_says_less_but_never_harms),
        TEST(numbers_out_of_all_bounds_are_refused),
        TEST(a_hole_is_answered_with_what_is_durable_and_nothing_behind_it_is_kept),
        TEST(an_overlap_is_kept_once),
        TEST(a_bad_record_becomes_a_declared_gap_and_the_stream_goes_on),
        TEST(a_gap_that_names_other_numbers_than_its_own_is_not_believed),
        TEST(of_a_gap_that_reaches_back_only_the_new_part_is_kept),
        TEST(a_device_that_trimmed_what_we_do_not_know_makes_us_declare_it),
        TEST(a_record_of_a_later_schema_is_passed_on_unread),
        TEST(a_forward_of_a_child_gateway_is_passed_on_unchanged),
        TEST(a_forward_that_contradicts_itself_becomes_a_gap_of_the_hop),
        TEST(a_forward_whose_record_covers_more_than_it_says_becomes_a_gap_of_the_hop),
        TEST(a_device_over_its_quota_is_dropped_and_counted),
        TEST(a_sender_with_more_streams_than_it_may_have_is_refused_and_counted),
        TEST(while_held_nothing_is_taken_and_afterwards_everything_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
