/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/fetch.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core/base/json.h"
#include "core/log/log.h"

enum { PAGE_ENTRIES = 5000, PAGE_RECORDS = 500, PAGE_BYTES = 1 << 20, LEFT_ALONE_S = 30 };

static bool parse_u64(const char *text, uint64_t preset, uint64_t *ret_value)
{
    char *end = NULL;
    *ret_value = preset;
    if (text == NULL) {
        return true;
    }
    *ret_value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && *ret_value <= INT64_MAX;
}

/* ---- notes ---- */
struct stamp {
    char text[32];
};

static struct stamp stamp_of(uint64_t us)
{
    struct stamp stamp;
    struct tm tm;
    time_t seconds = (time_t)(us / SECOND_US);
    if (us > (uint64_t)253402300799 * SECOND_US || gmtime_r(&seconds, &tm) == NULL) {
        return (struct stamp){.text = "the end of time"};
    }
    strftime(stamp.text, sizeof(stamp.text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return stamp;
}

struct asked {
    struct control_peer peer;
    const char *device;
    uint64_t from_us, to_us;
    bool unmasked;
};

/* Who asked for what, and what came of it. */
static enum err note(struct filter *filter, const char *id, const struct asked *a, const char *outcome,
                     uint64_t *ret_note)
{
    char text[400];
    snprintf(text, sizeof(text), "uid %" PRIu32 " (process %" PRId32 ") asked for readings of %s from %s to %s, %s: %s",
             a->peer.uid, a->peer.pid, a->device, stamp_of(a->from_us).text, stamp_of(a->to_us).text,
             a->unmasked ? "as they came" : "masked", outcome);
    return filter_note(filter, id, text, ret_note);
}

static void end_question(struct fetch_seat *seat, struct filter *filter, const char *how)
{
    char text[400];
    uint64_t ignored;
    snprintf(text, sizeof(text),
             "question %" PRIu64 " (uid %" PRIu32 ", %s) %s: %" PRIu64 " records, %" PRIu64 " bytes given", seat->id,
             seat->uid, seat->device, how, seat->records, seat->bytes);
    if (filter == NULL || filter_note(filter, "raw-read-end", text, &ignored) != OK) {
        log_warn("the end of a question cannot be noted", KV_STR("note", text));
    }
    filter_question_free(take(seat->question));
}

void fetch_sweep(struct fetch_desk *desk, struct filter *filter)
{
    for (struct fetch_seat *seat = desk->seats; seat < desk->seats + FETCH_SEATS; seat++) {
        if (seat->question != NULL && loop_now_us(desk->loop) - seat->used_us > LEFT_ALONE_S * SECOND_US) {
            end_question(seat, filter, "was left alone");
        }
    }
}

void fetch_deinit(struct fetch_desk *desk)
{
    for (struct fetch_seat *seat = desk->seats; seat < desk->seats + FETCH_SEATS; seat++) {
        filter_question_free(take(seat->question));
    }
}

/* ---- asking ---- */
static int deny(struct filter *filter, const struct asked *a, const char *why, struct buffer *body)
{
    char outcome[160];
    uint64_t ignored;
    snprintf(outcome, sizeof(outcome), "refused, %s", why);
    if (note(filter, "raw-read-refused", a, outcome, &ignored) != OK) {
        log_warn("a refused question cannot be noted", KV_STR("device", a->device));
    }
    return control_error(body, 403, why);
}

static int open_question(struct fetch_desk *desk, struct filter *filter, const struct asked *a, struct buffer *body)
{
    char text[160];
    struct json j;
    struct fetch_seat *seat = desk->seats;
    if (a->to_us - a->from_us > (uint64_t)desk->max_us) {
        snprintf(text, sizeof(text),
                 "the span is %" PRIu64 " s, and rules.fetch_max allows %" PRId64 " s; ask for less at a time",
                 (a->to_us - a->from_us) / SECOND_US, desk->max_us / SECOND_US);
        return deny(filter, a, text, body);
    }
    if (a->unmasked && !desk->unmasked) {
        return deny(filter, a, "readings leave unmasked only where rules.fetch_unmasked allows it", body);
    }
    fetch_sweep(desk, filter);
    while (seat < desk->seats + FETCH_SEATS && seat->question != NULL) {
        seat++;
    }
    if (seat == desk->seats + FETCH_SEATS) {
        return control_error(body, 503, "others are asking at this moment; try again in half a minute");
    }
    *seat = (struct fetch_seat){.id = desk->questions + 1, .uid = a->peer.uid, .used_us = loop_now_us(desk->loop)};
    snprintf(seat->device, sizeof(seat->device), "%s", a->device);
    snprintf(text, sizeof(text), "question %" PRIu64, seat->id);
    enum err err = filter_question_new(filter, a->device, a->from_us, a->to_us,
                                       a->unmasked ? FILTER_AS_IT_CAME : FILTER_MASKED, &seat->question);
    err = err == OK ? note(filter, "raw-read", a, text, &seat->note) : err;
    if (err != OK) {
        filter_question_free(take(seat->question));
        return control_error(body, 503, err == ERR_FULL ? "the question cannot be noted now" : err_name(err));
    }
    desk->questions++;
    json_init(&j, body);
    json_object(&j, NULL);
    json_u64(&j, "question", seat->id);
    json_bool(&j, "masked", !a->unmasked);
    json_object_end(&j);
    return 200;
}

static int ask(struct fetch_desk *desk, struct filter *filter, const struct control_request *request,
               const struct control_peer *peer, struct buffer *body)
{
    struct asked a = {.peer = *peer, .device = control_param(request, "device")};
    const char *unmasked = control_param(request, "unmasked");
    a.unmasked = unmasked != NULL && strcmp(unmasked, "0") != 0;
    if (a.device == NULL || !id_valid(slice_str(a.device)) || control_param(request, "from") == NULL ||
        control_param(request, "to") == NULL || !parse_u64(control_param(request, "from"), 0, &a.from_us) ||
        !parse_u64(control_param(request, "to"), 0, &a.to_us) || a.from_us > a.to_us) {
        return control_error(body, 400, "needs device=ID, from=US and to=US, us since 1970, from before to");
    }
    return open_question(desk, filter, &a, body);
}

/* ---- pages ---- */
struct writing {
    struct json *json;
    struct buffer *body;
    struct fetch_seat *seat;
    unsigned count;
};

static void put_hex(struct writing *w, const char *name, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    buffer_printf(w->body, ",\"%s\":\"", name);
    uint8_t *at = buffer_extend(w->body, 2 * bytes.len);
    for (size_t i = 0; i < bytes.len && at != NULL; i++) {
        *at++ = (uint8_t)digits[bytes.ptr[i] >> 4];
        *at++ = (uint8_t)digits[bytes.ptr[i] & 15];
    }
    buffer_put_u8(w->body, '"');
}

static bool on_reading(void *arg, const struct filter_reading *reading)
{
    struct writing *w = arg;
    json_object(w->json, NULL);
    json_hex(w->json, "epoch", reading->epoch);
    json_u64(w->json, "number", reading->number);
    json_u64(w->json, "received_us", reading->received_us);
    if (reading->describe.len > 0) {
        put_hex(w, "describe", reading->describe);
    }
    put_hex(w, "record", reading->record);
    json_object_end(w->json);
    w->seat->records++;
    w->seat->bytes += reading->record.len;
    return ++w->count < PAGE_RECORDS && w->body->len < PAGE_BYTES;
}

static int give(struct fetch_seat *seat, struct filter *filter, uint64_t cursor, struct buffer *body)
{
    struct json j;
    struct filter_page page;
    struct writing w = {.json = &j, .body = body, .seat = seat};
    json_init(&j, body);
    json_object(&j, NULL);
    json_array(&j, "records");
    enum err err = filter_question_page(seat->question, cursor, PAGE_ENTRIES, on_reading, &w, &page);
    if (err != OK) {
        end_question(seat, filter, err == ERR_CONFLICT ? "ended with other rules" : "failed");
        return control_error(body, 503, err == ERR_CONFLICT ? "other rules have come into force; ask again" : err_name(err));
    }
    json_array_end(&j);
    json_u64(&j, "cursor", page.cursor);
    json_u64(&j, "left_out", page.left_out);
    json_u64(&j, "ring_us", page.ring_us);
    json_u64(&j, "oldest_us", page.oldest_us);
    json_bool(&j, "overtaken", page.overtaken);
    json_object_end(&j);
    if (page.cursor == 0) {
        end_question(seat, filter, "is answered");
    }
    return 200;
}

static int go_on(struct fetch_desk *desk, struct filter *filter, const struct control_request *request,
                 const struct control_peer *peer, struct buffer *body)
{
    uint64_t id, cursor;
    struct fetch_seat *seat = desk->seats;
    if (!parse_u64(control_param(request, "question"), 0, &id) ||
        !parse_u64(control_param(request, "cursor"), 0, &cursor)) {
        return control_error(body, 400, "question and cursor are numbers");
    }
    while (seat < desk->seats + FETCH_SEATS && (seat->question == NULL || seat->id != id)) {
        seat++;
    }
    if (seat == desk->seats + FETCH_SEATS || seat->uid != peer->uid) {
        return control_error(body, 404, "there is no such question of yours");
    }
    seat->used_us = loop_now_us(desk->loop);
    if (control_param(request, "end") != NULL) {
        end_question(seat, filter, "has enough");
        buffer_put_str(body, "{}");
        return 200;
    }
    if (!filter_noted(filter, seat->note)) {
        buffer_put_str(body, "{\"wait\":true}");
        return 200;
    }
    return give(seat, filter, cursor, body);
}

int fetch_answer(struct fetch_desk *desk, struct filter *filter, const struct control_request *request,
                 struct buffer *body)
{
    struct control_peer peer;
    if (filter == NULL) {
        return control_error(body, 404, "this gateway keeps no raw records: it has no rules");
    }
    if (control_peer(request, &peer) != OK) {
        return control_error(body, 403, "who asks is not known");
    }
    return control_param(request, "question") != NULL ? go_on(desk, filter, request, &peer, body)
                                                      : ask(desk, filter, request, &peer, body);
}
