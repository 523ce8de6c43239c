/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "cloud-bridge/sink-mqtt/sink_mqtt_internal.h"
#include "cloud-bridge/sinks/server.h"
#include "proto/receive/receive.h"

/* ---- settings ---- */
#define AT(member) offsetof(struct mqtt_settings, member)

static const struct option table[] = {
    {.name = "servers", .type = OPTION_LIST, .offset = AT(servers), .required = true,
     .help = "Addresses of the brokers of a cluster: host:8883, tried in turn."},
    {.name = "ca", .type = OPTION_FILE, .offset = AT(ca), .preset = "",
     .help = "Certificates of the authority that signs the brokers', PEM."},
    {.name = "cert", .type = OPTION_FILE, .offset = AT(cert), .preset = "",
     .help = "Our certificate, PEM, where the brokers ask for one."},
    {.name = "key", .type = OPTION_FILE, .offset = AT(key), .preset = "", .help = "The key of our certificate, PEM."},
    {.name = "insecure", .type = OPTION_BOOL, .offset = AT(insecure), .preset = "false",
     .help = "Talk to the brokers without TLS; for a closed test bench only."},
    {.name = "user", .type = OPTION_STRING, .offset = AT(user), .preset = "", .max = 128,
     .help = "User name, with password_file."},
    {.name = "password_file", .type = OPTION_FILE, .offset = AT(password_file), .preset = "",
     .help = "File whose first line is the password."},
    {.name = "client_id", .type = OPTION_STRING, .offset = AT(client_id), .preset = "", .max = 2 * ID_MAX + 1,
     .help = "Client identifier; empty: <id of the bridge>-<name of this sink>."},
    {.name = "topic", .type = OPTION_STRING, .offset = AT(topic), .preset = "weir/{site}/{gateway}/{device}/{kind}",
     .min = 1,
     .max = SINK_TEMPLATE_MAX,
     .help = "Topic of a record; {site} {bridge} {gateway} {device} {lane} {kind} are filled in."},
    {.name = "payload", .type = OPTION_ENUM, .offset = AT(payload), .words = "json|protobuf", .preset = "json",
     .help = "The record as JSON, or as Forward of weir.proto."},
    {.name = "state", .type = OPTION_PATH, .offset = AT(state), .preset = "/var/lib/weir/sinks",
     .help = "Folder of the sink's own journal, which says how far the broker has acknowledged."},
    {.name = "window", .type = OPTION_INT, .offset = AT(window), .min = 1, .max = 65535, .preset = "512",
     .help = "Messages on their way without PUBACK; less where the broker's Receive Maximum is less."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = AT(timeout_us), .min = 1e6, .max = 60e6, .preset = "10s",
     .help = "How long the broker may keep silent."},
    {.name = "keepalive", .type = OPTION_DURATION, .offset = AT(keepalive_us), .min = 1e6, .max = 3600e6,
     .preset = "30s",
     .help = "Silence after which the link is asked for a sign of life."},
    {.name = NULL},
};

static enum err check(const void *item, struct buffer *problems)
{
    const struct mqtt_settings *s = item;
    const struct sink_login login = {.ca = s->ca,
                                     .cert = s->cert,
                                     .key = s->key,
                                     .user = s->user,
                                     .password_file = s->password_file,
                                     .insecure = s->insecure};
    enum err err = sink_login_check(&login, problems);
    if (s->servers.count == 0) {
        buffer_printf(problems, "servers: at least one is needed\n");
        err = ERR_RANGE;
    }
    for (size_t i = 0; i < s->servers.count; i++) {
        const char *scheme = strstr(s->servers.items[i], "://");
        bool secure = scheme != NULL && strncmp(s->servers.items[i], "mqtts://", 8) == 0;
        bool plain = scheme != NULL && strncmp(s->servers.items[i], "mqtt://", 7) == 0;
        if (scheme != NULL && !secure && !plain) {
            buffer_printf(problems, "servers: %.80s: host:port, with mqtts:// or mqtt:// or nothing before it\n",
                          s->servers.items[i]);
            err = ERR_RANGE;
        } else if (s->insecure ? secure : plain) {
            buffer_printf(problems, "servers: %.80s: insecure says otherwise\n", s->servers.items[i]);
            err = ERR_RANGE;
        }
    }
    return sink_template_check(s->topic, SINK_TEMPLATE_TOPIC, "topic", problems) == OK ? err : ERR_RANGE;
}

/* ---- the sink ---- */
struct mqtt_sink {
    const struct mqtt_settings *settings; /* borrowed */
    struct mqtt_place place;
    char client_id[2 * ID_MAX + 2], password[256], path[PATH_MAX];
    size_t server; /* the next to be tried */
    struct mqtt_session *session; /* NULL: none */
    struct sink_journal *journal; /* NULL: to be opened again */
    struct sink_journal_state state;
    struct sink_marks marks;
    struct sink_names *names;
    struct sink_reader reader;
    struct buffer topic, payload, gap;
};

static enum err open_journal(struct mqtt_sink *m, struct fault *reterr)
{
    sink_journal_free(m->journal);
    m->journal = NULL;
    sink_marks_clear(&m->marks);
    sink_names_free(m->names);
    m->names = NULL;
    if (sink_names_new(&m->names) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    return sink_journal_open(m->path, &m->marks, m->names, &m->state, &m->journal, reterr);
}

static enum err connect_session(struct mqtt_sink *m, struct fault *reterr)
{
    const struct option_list *servers = &m->settings->servers;
    const struct mqtt_login login = {.server = servers->items[m->server++ % servers->count],
                                     .client_id = m->client_id,
                                     .user = m->settings->user,
                                     .password = m->password};
    return mqtt_session_open(m->settings, &login, &m->session, reterr);
}

/* Our own words: a dead letter stands for its record anyway, and a jump shows in the numbers behind it. */
static bool is_aside(const struct mqtt_sink *m, const struct wire_forward *f)
{
    return m->reader.kind == SINK_GAP && (m->reader.record->gap->reason == WEIR__V1__GAP_REASON__DEAD_LETTER ||
                                          (m->gap.len > 0 && f->record.ptr == m->gap.ptr));
}

static enum err send_record(struct mqtt_sink *m, const struct sink_batch *batch, size_t item,
                            const struct wire_forward *f, bool replay, struct fault *reterr)
{
    struct mqtt_message message = {.item = item};
    sink_reader_read(&m->reader, f->record);
    if (m->reader.describe != NULL) {
        TRY(sink_journal_describe(m->journal, f->device, m->reader.describe));
    }
    message.aside = is_aside(m, f);
    TRY(mqtt_message_fill(&message, m->settings, &m->place, &m->reader, f, replay, m->names, &m->topic, &m->payload));
    if (mqtt_message_bytes(&message) > mqtt_session_packet_max(m->session)) {
        char reason[SINK_REASON_MAX];
        snprintf(reason, sizeof(reason), "%zu bytes, more than the broker's maximum packet size of %zu",
                 mqtt_message_bytes(&message), mqtt_session_packet_max(m->session));
        sink_refuse(batch, item, reason);
        return fault_set(reterr, ERR_UNSUPPORTED, "%s", reason);
    }
    return mqtt_session_publish(m->session, &message, reterr);
}

static enum err write_gap(struct mqtt_sink *m, const struct sink_batch *batch, size_t index,
                          const struct sink_step *step, struct fault *reterr)
{
    struct wire_forward gap = batch->items[index].forward;
    gap.first = step->lost_first;
    gap.last = step->lost_last;
    buffer_reset(&m->gap);
    TRY(wire_gap_pack(gap.first, gap.last, WEIR__V1__GAP_REASON__UPSTREAM_LOST, gap.received_us, &m->gap));
    gap.record = buffer_slice(&m->gap);
    return send_record(m, batch, index, &gap, false, reterr);
}

static enum err write_item(struct mqtt_sink *m, const struct sink_batch *batch, size_t index, struct fault *reterr)
{
    const struct sink_item *item = &batch->items[index];
    struct wire_forward f = item->forward;
    struct sink_mark *mark = sink_marks_find(&m->marks, f.device, f.epoch);
    struct sink_step step;
    if (f.first > f.last) {
        return OK;
    }
    if (mark == NULL) {
        TRY(sink_marks_add(&m->marks, f.device, f.epoch, f.lane, receive_is_hop(&f), &mark));
    }
    sink_item_step(mark, item, &step);
    if (step.skip) {
        return OK;
    }
    if (step.lost_first <= step.lost_last) {
        TRY(write_gap(m, batch, index, &step, reterr));
    }
    f.first = step.first;
    f.last = step.last;
    TRY(send_record(m, batch, index, &f, step.replay, reterr));
    if (!step.replay) {
        sink_mark_take(&m->marks, mark, &step, &item->forward, m->reader.kind, 0);
    }
    return OK;
}

static enum err refuse_denied(const struct sink_batch *batch, const struct mqtt_outcome *outcome, struct fault *reterr)
{
    for (size_t i = 0; i < outcome->denied && i < COUNT_OF(outcome->denials); i++) {
        sink_refuse(batch, outcome->denials[i].item, outcome->denials[i].text);
    }
    if (batch->refusals != NULL) { /* perhaps it is the login that lacks its rights: no hurry */
        batch->refusals->none_taken = outcome->acked == 0;
    }
    return fault_set(reterr, batch->refusals != NULL ? ERR_UNSUPPORTED : ERR_DENIED, "the broker: %s",
                     outcome->denials[0].text);
}

static enum err write_all(struct mqtt_sink *m, const struct sink_batch *batch, bool *ret_good, struct fault *reterr)
{
    struct mqtt_outcome outcome;
    enum err err = OK;
    struct fault settled = {.code = OK};
    for (size_t i = 0; i < batch->count && err == OK; i++) {
        err = write_item(m, batch, i, reterr);
    }
    enum err end = mqtt_session_settle(m->session, &outcome, &settled);
    *ret_good = end == OK;
    if (err == ERR_UNSUPPORTED) { /* too large: it is named already */
        return err;
    }
    if (end != OK) { /* the cause: what publishing said is its consequence */
        return fault_set(reterr, end, "%s", settled.text);
    }
    TRY(err);
    if (outcome.denied > 0) {
        return refuse_denied(batch, &outcome, reterr);
    }
    return sink_journal_commit(m->journal, batch->epoch, batch->position, slice_of(NULL, 0), reterr);
}

static enum err mqtt_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct mqtt_sink *m = self;
    bool good = false;
    if (m->journal == NULL) {
        TRY(open_journal(m, reterr));
    }
    if (m->session == NULL) {
        TRY(connect_session(m, reterr));
    }
    enum err err = write_all(m, batch, &good, reterr);
    if (err != OK) { /* marks have run ahead */
        if (reterr != NULL && reterr->text[0] == '\0') {
            (void)fault_set(reterr, err, "%s", err_name(err));
        }
        sink_journal_free(take(m->journal));
    }
    if (!good) { /* answers may still be on their way */
        mqtt_session_free(take(m->session));
    }
    return err;
}

static enum err mqtt_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    const struct mqtt_sink *m = self;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret_position[i] = m->state.epoch[i] == epoch[i] ? m->state.position[i] : 0;
    }
    return OK;
}

static void mqtt_close(void *self)
{
    struct mqtt_sink *m = self;
    if (m == NULL) {
        return;
    }
    mqtt_session_free(m->session);
    sink_journal_free(m->journal);
    sink_marks_clear(&m->marks);
    sink_names_free(m->names);
    sink_reader_deinit(&m->reader);
    buffer_deinit(&m->topic);
    buffer_deinit(&m->payload);
    buffer_deinit(&m->gap);
    explicit_bzero(m->password, sizeof(m->password));
    free(m);
}
DEFINE_CLEANUP(void, mqtt_close)

static const struct sink_ops mqtt_ops = {
    .name = "mqtt", .write = mqtt_write, .position = mqtt_position, .close = mqtt_close};

static enum err read_password(struct mqtt_sink *m, struct fault *reterr)
{
    const char *path = m->settings->password_file;
    if (path[0] != '\0' && sink_secret_read(path, m->password, sizeof(m->password)) != OK) {
        return fault_set(reterr, ERR_IO, "%s: no password can be read", path);
    }
    return OK;
}

static enum err mqtt_open(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr)
{
    const struct mqtt_settings *s = item;
    struct mqtt_sink *m = calloc(1, sizeof(*m));
    CLEANUP(mqtt_closep) void *guard = m;
    if (m == NULL || sink_reader_init(&m->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    m->settings = s;
    buffer_init(&m->topic, 64 << 10);
    buffer_init(&m->payload, 64 << 20);
    buffer_init(&m->gap, 64 << 10);
    snprintf(m->place.site, sizeof(m->place.site), "%s", place->site);
    snprintf(m->place.bridge, sizeof(m->place.bridge), "%s", place->bridge);
    if (s->client_id[0] != '\0') {
        snprintf(m->client_id, sizeof(m->client_id), "%s", s->client_id);
    } else {
        snprintf(m->client_id, sizeof(m->client_id), "%s-%s", place->bridge, place->name);
    }
    TRY(read_password(m, reterr));
    if (mkdir(s->state, 0750) != 0 && errno != EEXIST) {
        return fault_set(reterr, ERR_IO, "%s: cannot be made: %s", s->state, strerror(errno));
    }
    if (snprintf(m->path, sizeof(m->path), "%s/sink-%s.journal", s->state, place->name) >= (int)sizeof(m->path)) {
        return fault_set(reterr, ERR_RANGE, "%s: path too long", s->state);
    }
    TRY(open_journal(m, reterr));
    *ret_sink = (struct sink){.ops = &mqtt_ops, .self = take(guard)};
    return OK;
}

const struct sink_module weir_sink_module = {
    .abi = SINK_MODULE_ABI,
    .layout = SINK_MODULE_LAYOUT,
    .name = "mqtt",
    .summary = "MQTT 5: one QoS 1 message a record, with its identity in the user properties.",
    .table = table,
    .item_size = sizeof(struct mqtt_settings),
    .check = check,
    .open = mqtt_open,
};
