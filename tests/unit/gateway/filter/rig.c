/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gateway/filter/rig.h"

#include <stdio.h>
#include <unistd.h>

#include "proto/block/block.h"
#include "proto/receive/receive.h"

/* ---- the inbox's part ---- */
static void inbox_done(void *arg, enum err result)
{
    struct rig *r = arg;
    r->inbox_committing = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(r->raw[i], r->inbox_settle[i], result);
    }
    if (r->inbox != NULL) {
        loop_task_post(&r->inbox_task);
    }
}

static void commit_inbox(void *arg)
{
    struct rig *r = arg;
    if (r->inbox == NULL || r->inbox_committing) {
        return;
    }
    struct store_batch *batch = r->inbox;
    r->inbox = NULL;
    r->inbox_committing = true;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        r->inbox_settle[i] = spool_next(r->raw[i]) - 1;
    }
    if (store_commit(r->store, batch, inbox_done, r) != OK) {
        store_batch_free(batch);
        inbox_done(r, ERR_IO);
    }
}

static struct store_batch *our_inbox(void *arg)
{
    struct rig *r = arg;
    if (r->inbox == NULL) {
        CHECK_OK(store_batch_new(r->store, &r->inbox));
    }
    loop_task_post(&r->inbox_task);
    return r->inbox;
}

static void on_capture(void *arg, const struct filter_capture *capture)
{
    struct rig *r = arg;
    r->asked++;
    r->asked_until_us = capture->until_us;
    r->asked_id = capture->id;
    snprintf(r->asked_device, sizeof(r->asked_device), "%s", capture->device);
    snprintf(r->asked_rule, sizeof(r->asked_rule), "%s", capture->rule->name);
}

static void on_durable(void *arg)
{
    struct rig *r = arg;
    r->durable++;
}

/* ---- life ---- */
struct rules *rig_rules(const char *text)
{
    char path[] = "/tmp/weir-test-filter-XXXXXX";
    struct rules *rules = NULL;
    BUFFER(problems, 64 * 1024);
    if (text == NULL) {
        CHECK_OK(rules_load(NULL, &rules, &problems));
        return rules;
    }
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    enum err err = rules_load(path, &rules, &problems);
    unlink(path);
    if (err != OK) {
        fprintf(stderr, "%.*s", (int)problems.len, (const char *)problems.ptr);
        fail();
    }
    return rules;
}

void rig_init(struct rig *r, uint64_t disk_bytes)
{
    *r = (struct rig){.options = {.gateway = "gw1", .state_table = RIG_STATE}};
    CHECK_OK(loop_world_new(1, &r->world));
    CHECK_OK(store_disk_new(disk_bytes ? disk_bytes : 64 << 20, &r->disk));
}

void rig_deinit(struct rig *r)
{
    rig_crash(r);
    store_disk_free(r->disk);
    loop_world_free(r->world);
}

static void settle_all(void *arg, enum err result)
{
    struct rig *r = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(r->raw[i], spool_next(r->raw[i]) - 1, result);
        spool_settle(r->curated[i], spool_next(r->curated[i]) - 1, result);
    }
}

static void open_spool(struct rig *r, uint8_t lane, struct store_batch *batch, struct spool **ret)
{
    const struct spool_options options = {.table = RIG_SPOOL, .meta_table = RIG_META, .lane = lane};
    CHECK_OK(spool_open(r->loop, r->store, &options, ret, NULL));
    if (spool_epoch(*ret) == 0) {
        CHECK_OK(spool_create(*ret, batch));
    }
}

void rig_start(struct rig *r, const char *rules)
{
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    loop_set_worker_latency(r->loop, 10 * MS_US);
    CHECK_OK(store_open_memory(r->loop, r->disk, RIG_TABLES, &r->store));
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(r->store, &batch));
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        open_spool(r, lane, batch, &r->raw[lane]);
        open_spool(r, (uint8_t)(INBOX_LANES + lane), batch, &r->curated[lane]);
    }
    CHECK_OK(store_commit(r->store, batch, settle_all, r));
    rig_run(r, 11 * MS_US);
    loop_task_init(&r->inbox_task, r->loop, commit_inbox, r);
    r->rules = rig_rules(rules);
    r->options.rules = r->rules;
    r->options.pseudonym_key = slice_str("a plant's own secret");
    const struct filter_handlers handlers = {
        .batch = our_inbox, .on_durable = on_durable, .on_capture = on_capture, .arg = r};
    CHECK_OK(filter_new(r->loop, r->store, r->raw, r->curated, &r->options, &handlers, &r->filter, NULL));
}

void rig_crash(struct rig *r)
{
    if (r->store == NULL) {
        return;
    }
    filter_free(take(r->filter));
    loop_task_cancel(&r->inbox_task);
    store_batch_free(take(r->inbox));
    r->inbox_committing = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(take(r->raw[i]));
        spool_free(take(r->curated[i]));
    }
    store_close(take(r->store));
    rules_free(take(r->rules));
    loop_free(take(r->loop));
}

void rig_run(struct rig *r, int64_t us)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + us);
}

void rig_drain(struct rig *r)
{
    filter_kick(r->filter);
    int64_t end_us = loop_world_now_us(r->world) + 10 * MINUTE_US;
    do {
        rig_run(r, 5 * MS_US);
    } while (loop_world_now_us(r->world) < end_us &&
             (!filter_drained(r->filter) || r->inbox != NULL || r->inbox_committing));
    CHECK(filter_drained(r->filter));
}

/* ---- what goes in ---- */
static enum err append(struct rig *r, uint8_t lane, const struct wire_forward *forward)
{
    uint64_t first;
    BUFFER(body, SPOOL_BODY_MAX);
    CHECK_OK(wire_forward_encode(forward, &body));
    CHECK_OK(spool_append(r->raw[lane], our_inbox(r), forward->last - forward->first + 1, buffer_slice(&body), &first));
    uint64_t want = spool_next(r->raw[lane]) - 1;
    rig_run(r, 25 * MS_US); /* a commit may be under way before it */
    return spool_durable(r->raw[lane]) >= want ? OK : ERR_FULL;
}

void rig_forward(struct rig *r, uint8_t lane, const struct wire_forward *forward)
{
    CHECK_OK(append(r, lane, forward));
}

static enum err put(struct rig *r, uint8_t lane, const char *device, uint64_t epoch, uint64_t number,
                    const Weir__V1__Record *record)
{
    BUFFER(out, WIRE_RECORD_MAX);
    CHECK_OK(wire_record_pack(record, &out));
    struct wire_forward f = {.epoch = epoch, .first = number, .last = number, .top = number, .lane = lane,
                             .received_us = RIG_WALL_US + number, .record = buffer_slice(&out)};
    snprintf(f.device, sizeof(f.device), "%s", device);
    snprintf(f.gateway, sizeof(f.gateway), "gw1");
    return append(r, lane, &f);
}

static const double resolutions[] = {0.1, 0.01, 0.01};

static uint32_t make_describe(Weir__V1__Describe *d, Weir__V1__ChannelInfo *infos, Weir__V1__ChannelInfo **list)
{
    static char names[][5] = {"temp", "flow", "acc"};
    weir__v1__describe__init(d);
    for (size_t i = 0; i < 3; i++) {
        weir__v1__channel_info__init(&infos[i]);
        infos[i].name = names[i];
        infos[i].resolution = resolutions[i];
        list[i] = &infos[i];
    }
    d->n_channel = 3;
    d->channel = list;
    d->boot_id = 1;
    d->set = wire_describe_set(d);
    return d->set;
}

static enum err try_describe(struct rig *r, const char *device, uint64_t epoch, uint64_t number)
{
    Weir__V1__Describe d;
    Weir__V1__ChannelInfo infos[3], *list[3];
    (void)make_describe(&d, infos, list);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    return put(r, 1, device, epoch, number, &record);
}

static enum err try_block(struct rig *r, const char *device, uint64_t epoch, uint64_t number, int spike)
{
    Weir__V1__Describe d;
    Weir__V1__ChannelInfo infos[3], *list[3];
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    BUFFER(columns, 1 << 16);
    int64_t cells[3 * RIG_ROWS];
    for (int i = 0; i < RIG_ROWS; i++) {
        uint64_t t = number * RIG_ROWS + (uint64_t)i;
        cells[i] = 200 + (int64_t)(t / 40 % 7); /* temp: mostly still */
        cells[RIG_ROWS + i] = (int64_t)(mix_u64(t) % 1000);
        cells[2 * RIG_ROWS + i] = i == spike ? 2000 : (int64_t)(t % 3);
    }
    CHECK_OK(block_encode(cells, resolutions, 3, RIG_ROWS, &columns));
    b.set = make_describe(&d, infos, list);
    b.mono_us = (uint64_t)RIG_WALL_US + number * RIG_ROWS * SECOND_US;
    b.wall_us = b.mono_us + r->ahead_us;
    b.samples = RIG_ROWS;
    b.period_us = SECOND_US;
    b.quality = WEIR__V1__CLOCK_QUALITY__NTP;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    return put(r, 1, device, epoch, number, &record);
}

enum err rig_try_event(struct rig *r, const char *device, uint64_t epoch, uint64_t number)
{
    static char id[] = "door", text[] = "open";
    Weir__V1__Event e = WEIR__V1__EVENT__INIT;
    e.id = id;
    e.text = text;
    e.severity = WEIR__V1__SEVERITY__ALARM;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &e;
    return put(r, 0, device, epoch, number, &record);
}

void rig_describe(struct rig *r, const char *device, uint64_t epoch, uint64_t number)
{
    CHECK_OK(try_describe(r, device, epoch, number));
}

void rig_block(struct rig *r, const char *device, uint64_t epoch, uint64_t number, int spike)
{
    CHECK_OK(try_block(r, device, epoch, number, spike));
}

void rig_event(struct rig *r, const char *device, uint64_t epoch, uint64_t number)
{
    CHECK_OK(rig_try_event(r, device, epoch, number));
}

/* Three devices in turn; the first record of each describes, every 16th has a spike; every 9th is an alarm's. */
enum err rig_try_load(struct rig *r, unsigned from, unsigned records)
{
    for (unsigned i = from; i < from + records; i++) {
        char device[8];
        (void)snprintf(device, sizeof(device), "d-%u", i % 3);
        uint64_t number = i / 3 + 1;
        TRY(number == 1 ? try_describe(r, device, 10, number)
                        : try_block(r, device, 10, number, number % 16 == 0 ? 4 : -1));
        if (i % 9 == 0) {
            TRY(rig_try_event(r, device, 20, i / 9 + 1));
        }
    }
    return OK;
}

void rig_load(struct rig *r, unsigned records)
{
    CHECK_OK(rig_try_load(r, 0, records));
}

/* ---- what came out ---- */
struct reading {
    struct arena arena;
    void (*fn)(void *arg, const struct rig_out *out);
    void *arg;
};

static uint64_t values_in(const Weir__V1__Block *b)
{
    static int64_t cells[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];
    size_t channels;
    uint64_t count = 0;
    CHECK_OK(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, cells, NULL,
                          &channels));
    for (size_t i = 0; i < channels * b->samples; i++) {
        count += cells[i] != BLOCK_MISSING;
    }
    return count;
}

static bool on_curated(void *arg, const struct spool_entry *entry)
{
    struct reading *q = arg;
    struct wire_forward f;
    Weir__V1__Record *record = NULL;
    const char *why = "";
    CHECK(!entry->damaged);
    CHECK_OK(wire_forward_decode(entry->body, &f));
    CHECK_INT(f.last - f.first, entry->last - entry->first);
    struct rig_out out = {.epoch = f.epoch, .first = f.first, .last = f.last, .hop = receive_is_hop(&f)};
    memcpy(out.device, f.device, sizeof(out.device));
    arena_reset(&q->arena);
    if (wire_record_unpack(f.record, &q->arena, &record) == OK) {
        if (wire_record_check(f.record, f.first, f.last, &why) != OK) {
            fprintf(stderr, "%s\n", why);
            fail();
        }
        out.kind = (int)record->kind_case;
        if (record->kind_case == WEIR__V1__RECORD__KIND_SUPPRESSED) {
            CHECK_INT(record->suppressed->from, f.first);
            CHECK_INT(record->suppressed->to, f.last);
            snprintf(out.rule, sizeof(out.rule), "%s", record->suppressed->rule);
        } else if (record->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
            out.values = values_in(record->block);
        } else if (record->kind_case == WEIR__V1__RECORD__KIND_CURATED) {
            snprintf(out.rule, sizeof(out.rule), "%s", record->curated->capture);
            out.values = record->curated->block != NULL ? values_in(record->curated->block) : 0;
            out.windows = record->curated->n_window;
            for (size_t i = 0; i < record->curated->n_window; i++) {
                out.window_values += record->curated->window[i]->count;
            }
        }
    }
    q->fn(q->arg, &out);
    return true;
}

void rig_read(struct rig *r, uint8_t lane, void (*fn)(void *arg, const struct rig_out *out), void *arg)
{
    struct reading q = {.fn = fn, .arg = arg};
    CHECK_OK(arena_init(&q.arena, WIRE_ARENA_BYTES));
    CHECK_OK(spool_read(r->curated[lane], 1, on_curated, &q));
    arena_deinit(&q.arena);
}

static uint64_t hash(uint64_t h, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        h = (h ^ bytes.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

static bool hash_entry(void *arg, const struct spool_entry *entry)
{
    uint64_t *h = arg;
    struct wire_forward f;
    CHECK_OK(wire_forward_decode(entry->body, &f));
    uint64_t epoch = f.epoch > 1000 ? 1 : f.epoch; /* the rig's own are small */
    const uint64_t head[] = {entry->first, entry->last, epoch, f.first, f.last, f.top, f.received_us, f.lane};
    *h = hash(*h, slice_of((const uint8_t *)head, sizeof(head)));
    *h = hash(hash(*h, slice_str(f.device)), f.record);
    return true;
}

static void hash_state(void *arg, struct slice key, struct slice value)
{
    uint64_t *h = arg;
    uint8_t copy[64 * 1024];
    CHECK(value.len <= sizeof(copy));
    memcpy(copy, value.ptr, value.len);
    if (key.ptr[0] != 0 && value.len > 22) { /* checksum and epoch of captures: gateway/filter/state.c */
        memset(copy + 1, 0, 4);
        memset(copy + 14, 0, 8);
    }
    *h = hash(hash(*h, key), slice_of(copy, value.len));
}

uint64_t rig_outcome(struct rig *r)
{
    uint64_t h = 14695981039346656037u;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        CHECK_OK(spool_read(r->curated[lane], 1, hash_entry, &h));
    }
    store_disk_foreach(r->disk, RIG_STATE, hash_state, &h);
    return h;
}
