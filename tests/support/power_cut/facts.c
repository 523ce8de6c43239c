/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a connection -> MQTT packets -> Frames and Acks -> promises, by stamp and rising. */
#include "tests/support/power_cut/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <uthash.h>

#include "core/base/buffer.h"
#include "core/bus/mqtt.h"
#include "core/crypt/crypt.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"

enum { STREAM_BYTES = 4 << 20, PACKET_MAX = 1 << 20 };

struct said {
    uint64_t stamp, number; /* number: the highest so far */
};
struct stream {
    char key[ID_MAX + 24];
    char sender[ID_MAX + 1];
    uint64_t epoch;
    uint32_t boot; /* that said hello last */
    struct {
        struct said *list; /* owned */
        size_t count, room;
    } promises[PROMISES];
    struct {
        uint32_t *crc; /* owned; by number */
        bool *known;
        size_t room;
    } records;
    UT_hash_handle hh;
};
struct talk { /* one direction of one connection */
    uint64_t socket;
    struct buffer bytes;
    UT_hash_handle hh;
};
struct facts {
    struct stream *streams;
    struct talk *talks;
    uint64_t *stamps; /* owned */
    size_t stamp_count, stamp_room;
    unsigned changed;
    struct arena arena;
    struct wire_entry entries[WIRE_RECORDS_MAX];
};

static void make_key(char key[ID_MAX + 24], const char *sender, uint64_t epoch)
{
    snprintf(key, ID_MAX + 24, "%s/%016" PRIx64, sender, epoch);
}

static struct stream *find(const struct facts *facts, const char *sender, uint64_t epoch)
{
    char key[ID_MAX + 24];
    struct stream *s = NULL;
    make_key(key, sender, epoch);
    HASH_FIND_STR(facts->streams, key, s);
    return s;
}

static struct stream *find_or_add(struct facts *facts, const char *sender, uint64_t epoch)
{
    struct stream *s = find(facts, sender, epoch);
    if (s == NULL) {
        s = grown(NULL, sizeof *s);
        *s = (struct stream){.epoch = epoch};
        snprintf(s->sender, sizeof s->sender, "%s", sender);
        make_key(s->key, sender, epoch);
        HASH_ADD_STR(facts->streams, key, s);
    }
    return s;
}

static void promise_add(struct facts *facts, struct stream *s, enum promise promise, uint64_t number, uint64_t stamp)
{
    size_t count = s->promises[promise].count;
    if (count > 0 && s->promises[promise].list[count - 1].number >= number) {
        return;
    }
    if (count == s->promises[promise].room) {
        s->promises[promise].room = count * 2 + 64;
        s->promises[promise].list =
            grown(s->promises[promise].list, s->promises[promise].room * sizeof *s->promises[promise].list);
    }
    s->promises[promise].list[s->promises[promise].count++] = (struct said){stamp, number};
    if (facts->stamp_count == facts->stamp_room) {
        facts->stamp_room = facts->stamp_room * 2 + 256;
        facts->stamps = grown(facts->stamps, facts->stamp_room * sizeof *facts->stamps);
    }
    facts->stamps[facts->stamp_count++] = stamp;
}

static void record_add(struct facts *facts, struct stream *s, uint64_t number, struct slice body)
{
    if (number >= s->records.room) {
        size_t room = number * 2 + 64;
        s->records.crc = grown(s->records.crc, room * sizeof *s->records.crc);
        s->records.known = grown(s->records.known, room * sizeof *s->records.known);
        memset(s->records.known + s->records.room, 0, room - s->records.room);
        s->records.room = room;
    }
    uint32_t crc = crypt_crc32c(0, body.ptr, body.len);
    if (s->records.known[number]) {
        facts->changed += s->records.crc[number] != crc;
        return;
    }
    s->records.known[number] = true;
    s->records.crc[number] = crc;
}

/* A carrier says a gap under the number of a record that is acknowledged already (core/window). */
static bool is_gap(struct facts *facts, struct slice body)
{
    Weir__V1__Record *record = NULL;
    arena_reset(&facts->arena);
    return wire_record_unpack(body, &facts->arena, &record) == OK && record->kind_case == WEIR__V1__RECORD__KIND_GAP;
}

/* ---- what was published ---- */
static void on_frame(struct facts *facts, const struct topic *topic, struct slice payload, uint64_t stamp)
{
    struct wire_frame frame;
    const char *why = "";
    if (wire_frame_decode(payload, topic->channel == TOPIC_UP, &frame, facts->entries, WIRE_RECORDS_MAX, &why) != OK) {
        give_up("a frame of %s cannot be read: %s", topic->device, why);
    }
    struct stream *s = find_or_add(facts, frame.sender, frame.header.epoch);
    if (frame.header.has_hello) {
        s->boot = frame.header.boot;
    } else if (frame.header.boot != s->boot) {
        return; /* a probe of a parent: what it carries is no record (gateway/uplink/uplink.h) */
    }
    promise_add(facts, s, SENT, frame.header.last, stamp);
    for (size_t i = 0; i < frame.count && topic->channel == TOPIC_TELE; i++) {
        if (!is_gap(facts, facts->entries[i].body)) {
            record_add(facts, s, facts->entries[i].last, facts->entries[i].body);
        }
    }
}

static void on_publish(struct facts *facts, const struct mqtt_publish *publish, uint64_t stamp)
{
    struct topic topic;
    struct wire_ack ack;
    if (topic_parse(publish->topic, &topic) != OK) {
        return;
    }
    if (topic.channel == TOPIC_TELE || topic.channel == TOPIC_UP) {
        on_frame(facts, &topic, publish->payload, stamp);
    } else if (topic.channel == TOPIC_ACK && wire_ack_decode(publish->payload, &ack) == OK && ack.hwm > 0) {
        promise_add(facts, find_or_add(facts, topic.device, ack.epoch), ACKED, ack.hwm, stamp);
    }
}

static void on_bytes(struct facts *facts, struct talk *talk, struct slice bytes, uint64_t stamp)
{
    struct mqtt_packet packet;
    buffer_put_slice(&talk->bytes, bytes);
    struct slice rest = buffer_slice(&talk->bytes);
    enum err err;
    while ((err = mqtt_next(rest, PACKET_MAX, &packet)) == OK) {
        struct mqtt_publish publish;
        if (packet.type == MQTT_PUBLISH && mqtt_read_publish(&packet, &publish) == OK) {
            on_publish(facts, &publish, stamp);
        }
        rest = slice_of(rest.ptr + packet.size, rest.len - packet.size);
    }
    if (err != ERR_AGAIN || buffer_err(&talk->bytes) != OK) {
        give_up("a socket carries something else than MQTT in the clear");
    }
    memmove(talk->bytes.ptr, rest.ptr, rest.len);
    talk->bytes.len = rest.len;
}

static struct talk *talk_of(struct facts *facts, uint64_t socket)
{
    struct talk *talk = NULL;
    HASH_FIND(hh, facts->talks, &socket, sizeof socket, talk);
    if (talk == NULL) {
        talk = grown(NULL, sizeof *talk);
        *talk = (struct talk){.socket = socket};
        buffer_init(&talk->bytes, STREAM_BYTES);
        HASH_ADD(hh, facts->talks, socket, sizeof talk->socket, talk);
    }
    return talk;
}

struct facts *facts_new(const struct recording *recording)
{
    struct facts *facts = grown(NULL, sizeof *facts);
    memset(facts, 0, sizeof *facts);
    if (arena_init(&facts->arena, WIRE_ARENA_BYTES) != OK) {
        give_up("out of memory");
    }
    for (size_t i = 0; i < recording->count; i++) {
        const struct recorded *call = &recording->entries[i];
        if (call->head->kind == RECORDING_SEND) {
            on_bytes(facts, talk_of(facts, call->head->inode), call->data, call->head->begin);
        }
    }
    return facts;
}

void facts_free(struct facts *facts)
{
    struct stream *s, *next;
    struct talk *t, *next_talk;
    if (facts == NULL) {
        return;
    }
    HASH_ITER (hh, facts->streams, s, next) {
        HASH_DEL(facts->streams, s);
        for (unsigned i = 0; i < PROMISES; i++) {
            free(s->promises[i].list);
        }
        free(s->records.crc);
        free(s->records.known);
        free(s);
    }
    HASH_ITER (hh, facts->talks, t, next_talk) {
        HASH_DEL(facts->talks, t);
        buffer_deinit(&t->bytes);
        free(t);
    }
    arena_deinit(&facts->arena);
    free(facts->stamps);
    free(facts);
}

/* ---- asking ---- */
uint64_t facts_promised(const struct facts *facts, enum promise promise, const char *sender, uint64_t epoch,
                        uint64_t stamp)
{
    const struct stream *s = find(facts, sender, epoch);
    uint64_t number = 0;
    if (s != NULL) {
        size_t low = 0, high = s->promises[promise].count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (s->promises[promise].list[middle].stamp < stamp) {
                number = s->promises[promise].list[middle].number;
                low = middle + 1;
            } else {
                high = middle;
            }
        }
    }
    return number;
}

void facts_foreach(const struct facts *facts, void (*fn)(void *arg, const char *sender, uint64_t epoch), void *arg)
{
    for (const struct stream *s = facts->streams; s != NULL; s = s->hh.next) {
        fn(arg, s->sender, s->epoch);
    }
}

const uint64_t *facts_stamps(const struct facts *facts, size_t *ret_count)
{
    *ret_count = facts->stamp_count;
    return facts->stamps;
}

bool facts_record(const struct facts *facts, const char *sender, uint64_t epoch, uint64_t number, uint32_t *ret_crc)
{
    const struct stream *s = find(facts, sender, epoch);
    if (s == NULL || number >= s->records.room || !s->records.known[number]) {
        return false;
    }
    *ret_crc = s->records.crc[number];
    return true;
}

unsigned facts_changed(const struct facts *facts)
{
    return facts->changed;
}
