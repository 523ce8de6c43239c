/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"
#include "cloud-bridge/sinks/server.h"
#include "proto/receive/receive.h"

/* ---- settings ---- */
#define AT(member) offsetof(struct nats_settings, member)

static const struct option table[] = {
    {.name = "servers", .type = OPTION_LIST, .offset = AT(servers), .required = true,
     .help = "Addresses of the NATS servers: nats://host:4222, as many as there are."},
    {.name = "ca", .type = OPTION_FILE, .offset = AT(ca), .preset = "",
     .help = "Certificates of the authority that signs the servers', PEM."},
    {.name = "cert", .type = OPTION_FILE, .offset = AT(cert), .preset = "",
     .help = "Our certificate, PEM, where the servers ask for one."},
    {.name = "key", .type = OPTION_FILE, .offset = AT(key), .preset = "", .help = "The key of our certificate, PEM."},
    {.name = "insecure", .type = OPTION_BOOL, .offset = AT(insecure), .preset = "false",
     .help = "Talk to the servers without TLS; for a closed test bench only."},
    {.name = "user", .type = OPTION_STRING, .offset = AT(user), .preset = "", .max = 128,
     .help = "User name, with password_file."},
    {.name = "password_file", .type = OPTION_FILE, .offset = AT(password_file), .preset = "",
     .help = "File whose first line is the password."},
    {.name = "creds", .type = OPTION_FILE, .offset = AT(creds), .preset = "",
     .help = "File of NATS user credentials (JWT and seed)."},
    {.name = "stream", .type = OPTION_STRING, .offset = AT(stream), .preset = "", .max = ID_MAX,
     .help = "Stream that only this bridge writes to; empty: weir-<id of the bridge>."},
    {.name = "subject", .type = OPTION_STRING, .offset = AT(subject), .preset = "weir.{site}.{gateway}.{device}",
     .min = 1, .max = SINK_TEMPLATE_MAX,
     .help = "Subject of a record; {site} {bridge} {gateway} {device} {lane} {kind} are filled in."},
    {.name = "create", .type = OPTION_BOOL, .offset = AT(create), .preset = "true",
     .help = "Create the stream when there is none, kept in files."},
    {.name = "replicas", .type = OPTION_INT, .offset = AT(replicas), .min = 1, .max = 5, .preset = "3",
     .help = "Replicas of the stream; one that exists with fewer is not used."},
    {.name = "max_age", .type = OPTION_DURATION, .offset = AT(max_age_us), .max = 3650.0 * 86400e6, .preset = "0s",
     .help = "Age at which a created stream drops messages, 0 for never. The mark goes with the last message."},
    {.name = "max_bytes", .type = OPTION_BYTES, .offset = AT(max_bytes), .max = 1e15, .preset = "0B",
     .help = "Size at which a created stream drops its oldest messages, 0 for none."},
    {.name = "duplicates", .type = OPTION_DURATION, .offset = AT(duplicates_us), .min = 100e3, .max = 86400e6,
     .preset = "2min",
     .help = "How long the servers remember message ids, of a created stream. Correctness does not rest on it."},
    {.name = "payload", .type = OPTION_ENUM, .offset = AT(payload), .words = "protobuf|json", .preset = "protobuf",
     .help = "The record as Forward of weir.proto, or as JSON."},
    {.name = "window", .type = OPTION_INT, .offset = AT(window), .min = 1, .max = 8192, .preset = "512",
     .help = "Messages on their way without acknowledgement."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = AT(timeout_us), .min = 100e3, .max = 60e6, .preset = "5s",
     .help = "How long an answer of the servers may take."},
    {.name = NULL},
};

static enum err check(const void *item, struct buffer *problems)
{
    const struct nats_settings *s = item;
    const struct sink_login login = {.ca = s->ca,
                                     .cert = s->cert,
                                     .key = s->key,
                                     .user = s->user,
                                     .password_file = s->password_file,
                                     .insecure = s->insecure};
    enum err err = sink_login_check(&login, problems);
    if (s->user[0] != '\0' && s->creds[0] != '\0') {
        buffer_printf(problems, "creds: user and creds are two ways to log in; remove one of them\n");
        err = ERR_RANGE;
    }
    if (s->servers.count == 0) {
        buffer_printf(problems, "servers: at least one is needed\n");
        err = ERR_RANGE;
    }
    for (size_t i = 0; i < s->servers.count; i++) {
        const char *url = s->servers.items[i], *scheme = strstr(url, "://");
        if (scheme != NULL && strncmp(url, "nats://", 7) != 0 && strncmp(url, "tls://", 6) != 0) {
            buffer_printf(problems, "servers: %.80s: the scheme is nats:// or tls://\n", url);
            err = ERR_RANGE;
        }
    }
    if (s->stream[0] != '\0' && !id_valid(slice_str(s->stream))) {
        buffer_printf(problems, "stream: a name is made of A-Z a-z 0-9 _ -\n");
        err = ERR_RANGE;
    }
    return sink_template_check(s->subject, SINK_TEMPLATE_SUBJECT, "subject", problems) == OK ? err : ERR_RANGE;
}

/* ---- writing ---- */
static void reach(struct nats_mark *mark, const struct sink_batch *batch)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (mark->epoch[lane] != batch->epoch[lane]) {
            mark->epoch[lane] = batch->epoch[lane];
            mark->position[lane] = 0;
        }
    }
}

/* The jump as a message, with the hole in its marks; what comes behind it begins at the mark. */
static enum err add_gap(struct nats_sink *n, size_t item, const struct wire_forward *f, struct sink_step *step,
                        struct sink_mark *mark, struct nats_device *device, const struct nats_mark *reached)
{
    struct wire_forward gap = *f;
    struct sink_step jump = {.first = step->lost_first,
                             .last = step->lost_last,
                             .lost_first = step->lost_first,
                             .lost_last = step->lost_last};
    gap.first = step->lost_first;
    gap.last = step->lost_last;
    buffer_reset(&n->gap);
    TRY(wire_gap_pack(gap.first, gap.last, WEIR__V1__GAP_REASON__UPSTREAM_LOST, f->received_us, &n->gap));
    gap.record = buffer_slice(&n->gap);
    sink_reader_read(&n->reader, gap.record);
    sink_mark_move(mark, &jump);
    nats_device_keep(device, f->epoch, f->lane, mark);
    step->lost_first = 1;
    step->lost_last = 0;
    return nats_add_message(n, item, &gap, false, device, reached);
}

static enum err add_item(struct nats_sink *n, const struct sink_batch *batch, size_t index, struct nats_mark *reached,
                         struct fault *reterr)
{
    const struct sink_item *item = &batch->items[index];
    struct wire_forward f = item->forward;
    struct nats_device *device = NULL;
    struct sink_step step;
    bool behind = item->position != 0 && item->position <= reached->position[item->lane]; /* 0: not from the spool */
    if (f.first > f.last || behind) {
        return OK;
    }
    TRY(nats_find_device(n, &f, &device, reterr));
    struct sink_mark mark = {.hop = receive_is_hop(&f)};
    nats_device_mark(device, f.epoch, &mark);
    sink_item_step(&mark, item, &step);
    if (step.skip) {
        return OK;
    }
    if (step.lost_first <= step.lost_last) { /* the position is reached with what comes behind the gap */
        TRY(add_gap(n, index, &f, &step, &mark, device, reached));
    }
    if (!step.replay) {
        reached->position[item->lane] = max_u64(reached->position[item->lane], item->position);
        sink_mark_move(&mark, &step);
        nats_device_keep(device, f.epoch, f.lane, &mark);
    }
    f.first = step.first;
    f.last = step.last;
    sink_reader_read(&n->reader, f.record);
    if (n->reader.describe != NULL) {
        TRY(sink_names_add(n->names, f.device, n->reader.describe, NULL));
    }
    return nats_add_message(n, index, &f, step.replay, device, reached);
}

static enum err write_all(struct nats_sink *n, const struct sink_batch *batch, struct nats_mark *reached,
                          struct fault *reterr)
{
    for (size_t i = 0; i < batch->count; i++) {
        TRY(add_item(n, batch, i, reached, reterr));
    }
    return n->count > 0 ? nats_publish(n, batch, reterr) : OK;
}

static enum err nats_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct nats_sink *n = self;
    if (batch->count > 0 && batch->items[0].replay) {
        nats_disconnect(
            n); /* a largest message that was raised meanwhile is told at the beginning of a connection only */
    }
    if (!n->known || natsConnection_IsClosed(n->connection)) {
        TRY(nats_recover(n, reterr));
    }
    struct nats_mark reached = n->mark;
    reach(&reached, batch);
    n->known = false; /* until all has gone well */
    n->attempt++;
    enum err err = write_all(n, batch, &reached, reterr);
    if (err == OK) {
        n->known = true;
        n->empty = n->empty && n->count == 0;
        n->last += n->count;
        n->mark = reached;
    } else if (reterr != NULL && reterr->text[0] == '\0') {
        (void)fault_set(reterr, err, "%s", err_name(err));
    }
    nats_clear_messages(n);
    return err;
}

static enum err nats_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct nats_sink *n = self;
    if (!n->known) {
        TRY(nats_recover(n, &n->why));
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret_position[i] = n->mark.epoch[i] == epoch[i] ? n->mark.position[i] : 0;
    }
    return OK;
}

static const char *nats_why(void *self)
{
    const struct nats_sink *n = self;
    return n->why.text;
}

/* ---- opening and closing ---- */
static void nats_close(void *self)
{
    struct nats_sink *n = self;
    if (n == NULL) {
        return;
    }
    nats_clear_messages(n);
    nats_disconnect(n);
    nats_devices_clear(&n->devices);
    sink_names_free(n->names);
    sink_reader_deinit(&n->reader);
    buffer_deinit(&n->payload);
    buffer_deinit(&n->text);
    buffer_deinit(&n->gap);
    free(n->messages);
    explicit_bzero(n->password, sizeof(n->password));
    free(n);
}
DEFINE_CLEANUP(void, nats_close)

static const struct sink_ops nats_ops = {.name = "nats",
                                         .write = nats_write,
                                         .remote = true,
                                         .position = nats_position,
                                         .close = nats_close,
                                         .why = nats_why};

static enum err read_password(struct nats_sink *n, struct fault *reterr)
{
    const char *path = n->settings->password_file;
    if (path[0] != '\0' && sink_secret_read(path, n->password, sizeof(n->password)) != OK) {
        return fault_set(reterr, ERR_IO, "%s: no password can be read", path);
    }
    return OK;
}

static enum err nats_open(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr)
{
    const struct nats_settings *s = item;
    struct nats_sink *n = calloc(1, sizeof(*n));
    CLEANUP(nats_closep) void *guard = n;
    if (n == NULL || sink_reader_init(&n->reader) != OK || sink_names_new(&n->names) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    n->settings = s;
    snprintf(n->site, sizeof(n->site), "%s", place->site);
    snprintf(n->bridge, sizeof(n->bridge), "%s", place->bridge);
    snprintf(n->stream, sizeof(n->stream), "%s%s", s->stream[0] != '\0' ? s->stream : "weir-",
             s->stream[0] != '\0' ? "" : place->bridge);
    buffer_init(&n->payload, 64 << 20);
    buffer_init(&n->text, 64 << 10);
    buffer_init(&n->gap, 64 << 10);
    TRY(read_password(n, reterr));
    *ret_sink = (struct sink){.ops = &nats_ops, .self = take(guard)};
    return OK;
}

const struct sink_module weir_sink_module = {
    .abi = SINK_MODULE_ABI,
    .layout = SINK_MODULE_LAYOUT,
    .name = "nats",
    .summary = "NATS JetStream: one message a record into a stream of this bridge's own.",
    .table = table,
    .item_size = sizeof(struct nats_settings),
    .check = check,
    .open = nats_open,
};
