/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole device without an OS (device/micro: samples, windows, features, network, decision, asks, blocks, records,
 * frames, queue in RAM) and, at the other end of a bad link, the rules of a gateway (core/window's receiver,
 * proto/wire's checks).
 *
 * Built by tests/system/cortex_m4 with -DNETWORK="file.tflite" and -DDESCRIPTION="file.h"; the same source builds for
 * this machine and for a Cortex-M4 (device/cortex-m4). Prints every message of the device in hex, those that get lost
 * as well, and in the end one line of key=value pairs. Exit 1: something is not as it must be, `wrong=` says what.
 *
 * The link: down from DOWN_FROM to DOWN_TO hundredths of the run (asks find nobody; records wait, and where RAM is too
 * small for them, the oldest go and are declared); now and then a frame or an acknowledgement is lost. The asks:
 * answered, left without an answer, refused, answered, and so on.
 */
#include <stdio.h>
#include <unistd.h>

#include "device/micro/micro.h"
#include "proto/model/model.h"

#include DESCRIPTION

__asm__(".section .rodata\n.balign 16\n.global network_start\nnetwork_start:\n.incbin \"" NETWORK
        "\"\n.global network_end\n"
        "network_end:\n.balign 4\n.text\n");
extern const uint8_t network_start[], network_end[];

enum {
    SAMPLES = WINDOW + (WINDOWS - 1) * HOP,
    SETTLE = 6000,
    LOST_FRAME = 7,
    LOST_ACK = 11,
    MAIL_BYTES = 16 * 1024,
    MAILS = 32
};
#define PERIOD_US (10 * MS_US)
#define WALL_US UINT64_C(1767225600000000)
#define SKETCH_US (5 * SECOND_US)
#define OTHER_MODEL 77

static uint8_t memory[MEMORY_BYTES] __attribute__((aligned(64)));
static struct micro device;

/* ---- the link: what the device has sent and nobody has read ---- */

static struct {
    uint8_t bytes[MAIL_BYTES];
    struct mail {
        enum topic_channel channel;
        size_t at, len;
    } mails[MAILS];
    size_t used, count;
    unsigned frames, asks, acks;
    uint64_t hash, bits;
} mailbox = {.hash = 1, .bits = SEED};

static const char nothing[] = "nothing", *wrong = nothing;

static void expect(bool holds, const char *what)
{
    if (!holds && wrong == nothing) {
        wrong = what;
    }
}

static void print(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(1, text, len);
        if (n <= 0) {
            _exit(3);
        }
        text += n;
        len -= (size_t)n;
    }
}

static void print_message(const char *word, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    static char line[2 * 1024];
    size_t at = (size_t)snprintf(line, sizeof(line), "%s ", word);
    for (size_t i = 0; i < bytes.len; i++) {
        line[at++] = digits[bytes.ptr[i] >> 4];
        line[at++] = digits[bytes.ptr[i] & 15];
        mailbox.hash = mix_u64(mailbox.hash ^ bytes.ptr[i]);
        if (at >= sizeof(line) - 3) {
            print(line, at);
            at = 0;
        }
    }
    line[at++] = '\n';
    print(line, at);
}

static enum err publish(void *arg, enum topic_channel channel, struct slice payload)
{
    (void)arg;
    if (mailbox.used + payload.len > MAIL_BYTES || mailbox.count == MAILS) {
        return ERR_AGAIN; /* the modem's buffer */
    }
    print_message(channel == TOPIC_TELE ? "tele" : "ask", payload);
    memcpy(mailbox.bytes + mailbox.used, payload.ptr, payload.len);
    mailbox.mails[mailbox.count++] = (struct mail){.channel = channel, .at = mailbox.used, .len = payload.len};
    mailbox.used += payload.len;
    return OK;
}

static uint64_t next_bits(void *arg)
{
    (void)arg;
    mailbox.bits = mix_u64(mailbox.bits);
    return mailbox.bits | 1;
}

/* ---- the gateway ---- */

static struct {
    struct window_stream lanes[OUTLET_LANES];
    unsigned records[32]; /* by kind */
    unsigned gap_numbers, repeated, answered;
} gateway;

/* Field number of a Record's kind; the records of a device stand in ours' order. */
static unsigned kind_of(struct slice record)
{
    size_t at = 2;                /* schema */
    if (record.ptr[at] == 0x10) { /* a span */
        for (at++; record.ptr[at] >= 0x80; at++) {
        }
        at++;
    }
    unsigned key = record.ptr[at] & 127U;
    key |= record.ptr[at] >= 128 ? (unsigned)record.ptr[at + 1] << 7 : 0;
    return key >> 3;
}

static void take_records(struct window_stream *s, uint64_t from, const struct wire_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *why = NULL;
        expect(wire_record_check(entries[i].body, entries[i].first, entries[i].last, &why) == OK,
               "a record that no gateway takes");
        if (entries[i].last < from) {
            gateway.repeated++;
            continue;
        }
        expect(entries[i].last > s->pending && max_u64(entries[i].first, from) == s->pending + 1,
               "numbers with a hole");
        unsigned kind = kind_of(entries[i].body);
        gateway.records[kind < COUNT_OF(gateway.records) ? kind : 0]++;
        if (kind == WEIR__V1__RECORD__KIND_GAP) {
            gateway.gap_numbers += (unsigned)(entries[i].last - s->pending);
        }
        s->pending = entries[i].last;
    }
    s->hwm = s->pending;
}

static void on_frame(struct slice payload)
{
    static struct wire_entry entries[OUTLET_ENTRIES + 1];
    struct wire_frame frame;
    uint64_t from = 0;
    uint8_t bytes[256];
    struct buffer out;
    if (wire_frame_decode(payload, false, &frame, entries, COUNT_OF(entries), NULL) != OK ||
        frame.header.lane >= OUTLET_LANES) {
        expect(false, "a frame that no gateway takes");
        return;
    }
    struct window_stream *s = &gateway.lanes[frame.header.lane];
    enum window_verdict verdict = window_receive(s, &frame.header, &from);
    expect(verdict == WINDOW_ACCEPT || verdict == WINDOW_DUPLICATE || verdict == WINDOW_HOLE ||
               verdict == WINDOW_NEED_HELLO,
           "a verdict");
    if (verdict == WINDOW_ACCEPT) {
        take_records(s, from, entries, frame.count);
    }
    if (++mailbox.acks % LOST_ACK == 0) {
        return;
    }
    buffer_init_over(&out, bytes, sizeof(bytes));
    wire_ack_encode(&(struct wire_ack){.epoch = frame.header.epoch,
                                       .boot = frame.header.boot,
                                       .lane = frame.header.lane,
                                       .verdict = verdict,
                                       .hwm = s->hwm},
                    &out);
    micro_received(&device, TOPIC_ACK, buffer_slice(&out));
}

static void on_ask(struct slice payload)
{
    struct wire_ask ask;
    uint8_t bytes[WIRE_ANSWER_MAX];
    struct buffer out;
    unsigned n = mailbox.asks++ % 4;
    if (wire_ask_decode(payload, &ask) != OK || ask.model != description.id) {
        expect(false, "an ask that no gateway takes");
        return;
    }
    if (n == 1) {
        return; /* nobody answers */
    }
    struct wire_answer answer = {.engine = "plant/gateway",
                                 .id = ask.id,
                                 .model = OTHER_MODEL,
                                 .answer = 1,
                                 .confidence = 0.75F,
                                 .score = 0.5F,
                                 .status = n == 2 ? WEIR__V1__ANSWER_STATUS__ANSWER_BUSY
                                                  : WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN};
    memcpy(answer.device, ask.device, sizeof(answer.device));
    buffer_init_over(&out, bytes, sizeof(bytes));
    expect(wire_answer_encode(&answer, &out) == OK, "an answer");
    micro_received(&device, TOPIC_ANSWER, buffer_slice(&out));
    if (n == 3) {
        micro_received(&device, TOPIC_ANSWER, buffer_slice(&out)); /* the second one is a stray */
    }
    gateway.answered += n != 2;
}

/* What has come until now; answers may bring more, that is for the next time. */
static void deliver(void)
{
    static uint8_t bytes[MAIL_BYTES];
    static struct mail mails[MAILS];
    size_t count = mailbox.count;
    memcpy(bytes, mailbox.bytes, mailbox.used);
    memcpy(mails, mailbox.mails, sizeof(mails));
    mailbox.count = mailbox.used = 0;
    for (size_t i = 0; i < count; i++) {
        struct slice payload = slice_of(bytes + mails[i].at, mails[i].len);
        if (mails[i].channel == TOPIC_ASK) {
            on_ask(payload);
        } else if (++mailbox.frames % LOST_FRAME != 0) {
            on_frame(payload);
        }
    }
}

/* ---- the run ---- */

static const struct sense_channel channels[] = {{"a", "m/s2", 1.0 / 512}, {"b", "Cel", 0.125}};

/* Numerical Recipes' generator; multiples of the resolutions, which every float holds exactly. */
static double sample(uint32_t *seed, unsigned channel, unsigned at)
{
    *seed = *seed * 1664525U + 1013904223U;
    unsigned loud = at / HOP % 8 + 1;
    return (double)((int32_t)(*seed >> 20) - 2048) * loud * channels[channel].resolution;
}

static bool is_up(unsigned at)
{
    return at < SAMPLES / 100 * DOWN_FROM || at >= SAMPLES / 100 * DOWN_TO;
}

static int64_t time_at(unsigned at)
{
    return SECOND_US + (int64_t)at * PERIOD_US;
}

static void step(unsigned at, uint32_t *seed)
{
    double values[COUNT_OF(channels)];
    if (at == 0 || is_up(at) != is_up(at - 1)) {
        if (!is_up(at)) {
            mailbox.count = mailbox.used = 0; /* what was under way is gone */
        }
        micro_link_is(&device, is_up(at));
    }
    for (unsigned c = 0; c < description.features.channels; c++) {
        values[c] = sample(seed, c, at);
    }
    expect(micro_sample(&device, values, time_at(at), WALL_US + (uint64_t)time_at(at), true) == OK,
           "a sample that found no room");
    if (at == SAMPLES / 2) {
        const struct compose_event event = {
            .severity = WEIR__V1__SEVERITY__ALARM, .id = "half", .text = "half of the run", .value = 1};
        expect(micro_event(&device, &event) == OK, "an event that found no room");
    }
    deliver();
}

static enum err start(struct fault *reterr)
{
    const struct infer_model model = {.info = &description,
                                      .network = slice_of(network_start, (size_t)(network_end - network_start)),
                                      .kernels = "portable"};
    const struct infer_options infer = {.report = INFER_ALL,
                                        .ask = INFER_SMALLER,
                                        .asks_per_minute = 600,
                                        .bytes_per_day = 2 << 20,
                                        .sketch_us = SKETCH_US};
    const struct micro_options options = {.site = "plant",
                                          .gateway = "gateway",
                                          .device = "small-1",
                                          .software = "weir-micro",
                                          .source = "made",
                                          .config = 5,
                                          .boot_id = 9,
                                          .channels = channels,
                                          .channel_count = description.features.channels,
                                          .samples_per_record = 32,
                                          .describe_every = 1000,
                                          .period_us = PERIOD_US,
                                          .max_age_us = SECOND_US,
                                          .bulk_bytes = BULK_BYTES,
                                          .alarm_bytes = 6 * 1024,
                                          .held_bytes = 1024,
                                          .frame_bytes = 2048,
                                          .model = &model,
                                          .infer = &infer};
    const struct micro_link link = {.publish = publish, .random = next_bits};
    return micro_init(&device, &options, &link, SECOND_US, WALL_US + SECOND_US, memory, sizeof(memory), reterr);
}

/* Until nothing waits. */
static void settle(void)
{
    micro_end(&device);
    for (unsigned at = SAMPLES; at < SAMPLES + SETTLE && (!micro_drained(&device) || mailbox.count > 0); at++) {
        deliver();
        micro_pass(&device, time_at(at), WALL_US + (uint64_t)time_at(at));
    }
    expect(micro_drained(&device), "records that were never acknowledged");
}

static void check(const struct infer_stats *s)
{
    uint64_t bulk = gateway.lanes[COMPOSE_BULK].hwm, alarms = gateway.lanes[COMPOSE_ALARM].hwm,
             seen = gateway.gap_numbers;
    for (unsigned kind = 0; kind < COUNT_OF(gateway.records); kind++) {
        seen += kind != WEIR__V1__RECORD__KIND_GAP ? gateway.records[kind] : 0;
    }
    expect(bulk == device.outlet.lanes[COMPOSE_BULK].next - 1 && alarms == device.outlet.lanes[COMPOSE_ALARM].next - 1,
           "numbers that are not there");
    expect(seen == bulk + alarms && bulk + alarms == device.outlet.stats.put, "numbers that stand for nothing");
    expect((gateway.gap_numbers > 0) == (OVERFLOWS != 0) && gateway.gap_numbers <= device.outlet.stats.dropped,
           "declared losses");
    expect(gateway.records[WEIR__V1__RECORD__KIND_EVENT] == 1, "the alarm");
    expect(OVERFLOWS || gateway.records[WEIR__V1__RECORD__KIND_INFERENCE] == s->told, "inferences");
    expect(s->windows == WINDOWS && s->told == WINDOWS && s->answered > 0 && s->late > 0 && s->refused > 0 &&
               s->offline > 0 && s->strays > 0,
           "outcomes of asking");
    expect(s->sketches > 1 && (OVERFLOWS || gateway.records[WEIR__V1__RECORD__KIND_CURATED] == s->sketches),
           "sketches");
    expect(s->answered >= gateway.answered, "answers"); /* the same input is not asked about again */
}

#ifdef __arm__
size_t stack_used(void);
#else
static size_t stack_used(void)
{
    return 0;
}
#endif

int main(void)
{
    struct fault fault = {0};
    struct infer_stats s;
    uint32_t seed = SEED;
    char line[512];
    if (start(&fault) != OK) {
        int n = snprintf(line, sizeof(line), "cannot start: %s\n", fault.text);
        print(line, (size_t)n);
        return 1;
    }
    for (unsigned at = 0; at < SAMPLES; at++) {
        step(at, &seed);
    }
    settle();
    infer_stats(device.infer, &s);
    check(&s);
    int n = snprintf(line, sizeof(line),
                     "end hash=%08lx%08lx numbers=%u blocks=%u inferences=%u sketches=%u gaps=%u gap_numbers=%u "
                     "repeated=%u asked=%u answered=%u late=%u "
                     "refused=%u offline=%u memory=%u stack=%u wrong=%s\n",
                     (unsigned long)(mailbox.hash >> 32), (unsigned long)(mailbox.hash & UINT32_MAX),
                     (unsigned)device.outlet.stats.put, gateway.records[WEIR__V1__RECORD__KIND_BLOCK],
                     gateway.records[WEIR__V1__RECORD__KIND_INFERENCE], gateway.records[WEIR__V1__RECORD__KIND_CURATED],
                     gateway.records[WEIR__V1__RECORD__KIND_GAP], gateway.gap_numbers, gateway.repeated,
                     (unsigned)s.asked, (unsigned)s.answered, (unsigned)s.late, (unsigned)s.refused,
                     (unsigned)s.offline, (unsigned)device.memory_bytes, (unsigned)stack_used(), wrong);
    print(line, (size_t)n);
    return wrong == nothing ? 0 : 1;
}
