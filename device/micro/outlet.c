/* SPDX-License-Identifier: Apache-2.0 */
#include "device/micro/outlet.h"

enum { FRAME_HEAD_MAX = 512, ENTRY_HEAD_MAX = 4, GAP_MAX = 64, FREED_PART = 8 };
#define GREET_US (10 * MINUTE_US)

static size_t frame_room(const struct outlet_options *options)
{
    size_t payload = options->frame_bytes > options->record_max ? options->frame_bytes : options->record_max;
    return FRAME_HEAD_MAX + payload + GAP_MAX + OUTLET_ENTRIES * ENTRY_HEAD_MAX;
}

size_t outlet_bytes(const struct outlet_options *options)
{
    size_t bytes = frame_room(options);
    for (unsigned i = 0; i < OUTLET_LANES; i++) {
        bytes += options->lane_bytes[i];
    }
    return bytes;
}

/* ---- lanes ---- */

static uint64_t acked(const struct outlet_lane *lane)
{
    return lane->window.base - 1;
}

static void open_window(struct outlet *o, struct outlet_lane *lane)
{
    window_sender_init(&lane->window, &o->options.window, lane->flight, 0, lane->next - 1);
    if (o->up) {
        window_sender_connected(&lane->window);
    }
}

enum err outlet_init(struct outlet *o, const struct outlet_options *options, const struct outlet_handlers *handlers,
                     void *memory)
{
    uint8_t *at = memory;
    if (options->record_max > UINT16_MAX || options->window.max_frames < 1 ||
        options->window.max_frames > OUTLET_FRAMES) {
        return ERR_RANGE;
    }
    *o = (struct outlet){.options = *options, .handlers = *handlers};
    for (unsigned i = 0; i < OUTLET_LANES; i++) {
        struct outlet_lane *lane = &o->lanes[i];
        if (options->lane_bytes[i] < 2 * (options->record_max + OUTLET_HEAD_BYTES)) {
            return ERR_RANGE;
        }
        *lane = (struct outlet_lane){.epoch = handlers->random(handlers->arg),
                                     .gap_first = 1,
                                     .first = 1,
                                     .next = 1,
                                     .bytes = at,
                                     .cap = options->lane_bytes[i]};
        at += lane->cap;
        open_window(o, lane);
    }
    buffer_init_over(&o->frame, at, frame_room(options));
    o->boot = (uint32_t)handlers->random(handlers->arg);
    o->boot += o->boot == 0;
    return OK;
}

bool outlet_room(const struct outlet *o, size_t bytes, unsigned records)
{
    for (unsigned i = 0; i < OUTLET_LANES; i++) {
        if (bytes + records * OUTLET_HEAD_BYTES > o->lanes[i].cap) {
            return false;
        }
    }
    return true;
}

static struct slice record_at(const struct outlet_lane *lane, size_t at)
{
    size_t len = lane->bytes[at] | (size_t)lane->bytes[at + 1] << 8;
    return slice_of(lane->bytes + at + OUTLET_HEAD_BYTES, len);
}

static void forget_oldest(struct outlet_lane *lane)
{
    lane->head += OUTLET_HEAD_BYTES + record_at(lane, lane->head).len;
    lane->first++;
    if (lane->head == lane->tail) {
        lane->head = lane->tail = 0;
    }
}

/* A good part at a time, so that gaps are few. What was let go is declared until it is acknowledged. */
static void make_room(struct outlet *o, uint8_t id, size_t need)
{
    struct outlet_lane *lane = &o->lanes[id];
    size_t used = lane->tail - lane->head, part = lane->cap / FREED_PART;
    if (lane->cap - used < need) {
        size_t wanted = need > part ? need : part;
        while (lane->cap - (lane->tail - lane->head) < wanted && lane->first < lane->next) {
            forget_oldest(lane);
            o->stats.dropped++;
        }
        o->handlers.describe(o->handlers.arg, id); /* it may have been among them */
    }
    if (lane->cap - lane->tail < need) {
        memmove(lane->bytes, lane->bytes + lane->head, lane->tail - lane->head);
        lane->tail -= lane->head;
        lane->head = 0;
    }
}

void outlet_put(struct outlet *o, uint8_t id, struct slice record)
{
    struct outlet_lane *lane = &o->lanes[id];
    make_room(o, id, record.len + OUTLET_HEAD_BYTES);
    lane->bytes[lane->tail] = (uint8_t)record.len;
    lane->bytes[lane->tail + 1] = (uint8_t)(record.len >> 8);
    memcpy(lane->bytes + lane->tail + OUTLET_HEAD_BYTES, record.ptr, record.len);
    lane->tail += OUTLET_HEAD_BYTES + record.len;
    lane->next++;
    o->stats.put++;
    window_sender_durable(&lane->window, lane->next - 1);
}

/* ---- frames ---- */

struct frame {
    struct slice bodies[OUTLET_ENTRIES];
    size_t count, bytes;
    uint64_t first, last;
};

/* A declared range in the place of the records. */
static enum err add_gap(struct frame *f, uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us,
                        struct buffer *out)
{
    TRY(wire_gap_pack(first, last, reason, wall_us, out));
    *f = (struct frame){.bodies = {buffer_slice(out)}, .count = 1, .bytes = out->len, .first = first, .last = last};
    return OK;
}

/* Records from `from` on, as many as a frame takes. */
static void add_records(const struct outlet_lane *lane, uint64_t from, size_t bytes_max, struct frame *f)
{
    uint64_t number = lane->first;
    for (size_t at = lane->head; number < lane->next && f->count < OUTLET_ENTRIES; number++) {
        struct slice record = record_at(lane, at);
        at += OUTLET_HEAD_BYTES + record.len;
        if (number < from) {
            continue;
        }
        if (f->count > 0 && f->bytes + record.len > bytes_max) {
            break;
        }
        f->first = f->count == 0 ? number : f->first;
        f->bodies[f->count++] = record;
        f->bytes += record.len;
        f->last = number;
    }
}

static enum err send_frame(struct outlet *o, uint8_t id, uint64_t from, int64_t now_us, uint64_t wall_us)
{
    struct outlet_lane *lane = &o->lanes[id];
    struct frame f = {.count = 0};
    uint8_t gap_bytes[GAP_MAX];
    struct buffer gap;
    size_t bytes_max = (size_t)min_u64(o->options.frame_bytes, window_sender_frame_bytes(&lane->window));
    buffer_init_over(&gap, gap_bytes, sizeof(gap_bytes));
    if (from < lane->window.base) { /* only the hello counts; what it stands for was acknowledged */
        TRY(add_gap(&f, from, from, WEIR__V1__GAP_REASON__RECEIVER_LOST, wall_us, &gap));
    } else {
        if (from < lane->first) { /* whole, however much of it was sent before */
            TRY(add_gap(&f, lane->gap_first, lane->first - 1, WEIR__V1__GAP_REASON__OVERFLOW, wall_us, &gap));
        }
        add_records(lane, max_u64(from, lane->first), bytes_max, &f);
    }
    struct window_header header = {
        .epoch = lane->epoch, .boot = o->boot, .lane = id, .boot_seq = 1, .replaces = lane->replaces};
    window_sender_header(&lane->window, f.first, f.last, &header);
    buffer_reset(&o->frame);
    TRY(wire_frame_encode(o->options.device, &header, o->options.software, f.bodies, f.count, &o->frame));
    TRY(o->handlers.send(o->handlers.arg, buffer_slice(&o->frame)));
    o->stats.frames++;
    window_sender_sent(&lane->window, f.last, f.bytes, now_us);
    return OK;
}

static void run_lane(struct outlet *o, uint8_t id, int64_t now_us, uint64_t wall_us)
{
    struct outlet_lane *lane = &o->lanes[id];
    int64_t deadline_us = window_sender_deadline(&lane->window);
    uint64_t from;
    if (deadline_us != 0 && deadline_us <= now_us) {
        window_sender_tick(&lane->window, now_us);
    }
    if (o->up && now_us >= lane->greet_at_us) {
        window_sender_greet(&lane->window);
        lane->greet_at_us = now_us + GREET_US;
    }
    while (o->up && window_sender_may_send(&lane->window, now_us, &from)) {
        if (send_frame(o, id, from, now_us, wall_us) != OK) {
            return;
        }
    }
}

void outlet_run(struct outlet *o, int64_t now_us, uint64_t wall_us)
{
    for (uint8_t id = 0; id < OUTLET_LANES; id++) { /* alarms first */
        run_lane(o, id, now_us, wall_us);
    }
}

int64_t outlet_due_us(const struct outlet *o)
{
    int64_t due_us = 0;
    for (unsigned i = 0; i < OUTLET_LANES; i++) {
        int64_t at_us = window_sender_deadline(&o->lanes[i].window);
        due_us = at_us != 0 && (due_us == 0 || at_us < due_us) ? at_us : due_us;
    }
    return due_us;
}

bool outlet_drained(const struct outlet *o)
{
    for (unsigned i = 0; i < OUTLET_LANES; i++) {
        if (acked(&o->lanes[i]) + 1 < o->lanes[i].next) {
            return false;
        }
    }
    return true;
}

/* ---- link and answers ---- */

void outlet_link(struct outlet *o, bool up, int64_t now_us)
{
    for (unsigned i = 0; i < OUTLET_LANES && up != o->up; i++) {
        struct outlet_lane *lane = &o->lanes[i];
        if (up) {
            window_sender_connected(&lane->window);
            lane->greet_at_us = now_us + GREET_US; /* it greets by itself when it connects */
        } else {
            window_sender_disconnected(&lane->window);
        }
    }
    o->up = up;
}

/* Forgets what is acknowledged. */
static void trim(struct outlet_lane *lane, uint64_t upto)
{
    while (lane->first <= upto && lane->first < lane->next) {
        forget_oldest(lane);
    }
    lane->gap_first = max_u64(lane->gap_first, min_u64(upto + 1, lane->first));
}

/* The receiver has closed this epoch: what it has of it stays under it, the rest begins at 1 again. */
static void begin_epoch(struct outlet *o, uint8_t id, const struct wire_ack *ack)
{
    struct outlet_lane *lane = &o->lanes[id];
    uint64_t ours = ack->owner == o->boot ? ack->hwm : 0; /* above is another's history */
    trim(lane, min_u64(max_u64(ours, acked(lane)), lane->next - 1));
    uint64_t gaps = lane->first - lane->gap_first, records = lane->next - lane->first;
    lane->gap_first = 1;
    lane->first = 1 + gaps;
    lane->next = lane->first + records;
    lane->replaces = lane->epoch;
    lane->epoch = o->handlers.random(o->handlers.arg);
    o->stats.epochs++;
    open_window(o, lane);
    o->handlers.describe(o->handlers.arg, id);
}

void outlet_ack(struct outlet *o, const struct wire_ack *ack, int64_t now_us)
{
    if (ack->lane >= OUTLET_LANES || ack->epoch != o->lanes[ack->lane].epoch || ack->boot != o->boot) {
        o->stats.strays++;
        return;
    }
    struct outlet_lane *lane = &o->lanes[ack->lane];
    o->stats.acks++;
    bool moved = window_sender_answer(&lane->window, ack->verdict, ack->hwm, now_us);
    if (lane->window.state == WINDOW_STALE_EPOCH) {
        begin_epoch(o, ack->lane, ack);
        return;
    }
    if (moved) {
        trim(lane, acked(lane));
    }
    for (unsigned i = 0; i < OUTLET_LANES && ack->verdict == WINDOW_NEED_HELLO; i++) {
        if (i != ack->lane) {
            window_sender_greet(&o->lanes[i].window);
        }
    }
}
