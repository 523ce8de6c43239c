/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-publish-rig - gateway/publish on a real loop with real sessions, told what to do line by line on stdin: what tests of
 * the views need of a gateway without devices.
 *
 *   describe DEVICE name:unit[,name:unit...]   its channels (resolution 0.25)
 *   row DEVICE AGE_MS VALUE...                 one row, '-' = missing, taken and received AGE_MS ago
 *   window DEVICE CHANNEL RULE MEAN            a window of a minute that has just closed
 *   device DEVICE online|offline               what the fleet sees
 *   stats                                      one line of JSON on stdout
 *   stop                                       orderly end, as is the end of stdin
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/log/log.h"
#include "gateway/publish/publish.h"
#include "proto/block/block.h"

enum { LINE_MAX_BYTES = 64 * 1024, DEVICES_MAX = 64, EPOCH = 0xabcd };

struct known {
    char id[ID_MAX + 1];
    uint32_t set;
    size_t channels;
};
struct rig {
    struct loop *loop;
    struct bus *plant; /* NULL: no namespace */
    struct publish *publish;
    struct loop_watch *watch;
    char line[LINE_MAX_BYTES];
    size_t len;
    struct known known[DEVICES_MAX];
    size_t known_count;
    uint64_t number;
    struct buffer record;
};

static struct known *find(struct rig *r, const char *id)
{
    for (size_t i = 0; i < r->known_count; i++) {
        if (strcmp(r->known[i].id, id) == 0) {
            return &r->known[i];
        }
    }
    if (r->known_count == DEVICES_MAX) {
        return NULL;
    }
    struct known *k = &r->known[r->known_count++];
    snprintf(k->id, sizeof(k->id), "%s", id);
    return k;
}

static void give(struct rig *r, const char *device, Weir__V1__Record *record, int64_t age_us)
{
    buffer_reset(&r->record);
    record->schema = WIRE_SCHEMA;
    if (wire_record_pack(record, &r->record) != OK) {
        log_error("the record does not pack", KV_STR("device", device));
        return;
    }
    struct wire_forward f = {.epoch = EPOCH, .first = ++r->number, .lane = 1, .record = buffer_slice(&r->record),
                             .received_us = (uint64_t)(loop_wall_us(r->loop) - age_us)};
    f.last = f.top = f.first;
    snprintf(f.device, sizeof(f.device), "%s", device);
    snprintf(f.gateway, sizeof(f.gateway), "gw1");
    publish_record(r->publish, &f);
}

static void on_describe(struct rig *r, struct known *k, char *rest)
{
    static Weir__V1__ChannelInfo infos[BLOCK_CHANNELS_MAX];
    static Weir__V1__ChannelInfo *channels[BLOCK_CHANNELS_MAX];
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    char *one;
    while ((one = strsep(&rest, ",")) != NULL && d.n_channel < BLOCK_CHANNELS_MAX) {
        Weir__V1__ChannelInfo *c = &infos[d.n_channel];
        weir__v1__channel_info__init(c);
        c->name = strsep(&one, ":");
        c->unit = one != NULL ? one : (char *)(uintptr_t)"";
        c->resolution = 0.25;
        channels[d.n_channel++] = c;
    }
    d.channel = channels;
    d.set = wire_describe_set(&d);
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    k->set = d.set;
    k->channels = d.n_channel;
    give(r, k->id, &record, 0);
}

static void on_row(struct rig *r, struct known *k, char *rest)
{
    int64_t values[BLOCK_CHANNELS_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
    size_t count = 0;
    const char *age = strsep(&rest, " ");
    for (char *word; (word = strsep(&rest, " ")) != NULL && count < BLOCK_CHANNELS_MAX; count++) {
        values[count] = strcmp(word, "-") == 0 ? BLOCK_MISSING : block_quantise(strtod(word, NULL), 0.25);
        resolutions[count] = 0.25;
    }
    BUFFER(columns, 64 * 1024);
    if (block_encode(values, resolutions, count, 1, &columns) != OK) {
        log_error("the row does not encode", KV_STR("device", k->id));
        return;
    }
    int64_t age_us = strtoll(age, NULL, 10) * MS_US;
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    b.set = k->set;
    b.wall_us = (uint64_t)(loop_wall_us(r->loop) - age_us);
    b.samples = 1;
    b.quality = WEIR__V1__CLOCK_QUALITY__NTP;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    give(r, k->id, &record, age_us);
}

static void on_window(struct rig *r, struct known *k, char *rest)
{
    Weir__V1__Window w = WEIR__V1__WINDOW__INIT;
    Weir__V1__Window *windows[] = {&w};
    Weir__V1__Curated c = WEIR__V1__CURATED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    w.channel = (uint32_t)strtoul(strsep(&rest, " "), NULL, 10);
    w.rule = strsep(&rest, " ");
    w.mean = rest != NULL ? strtod(rest, NULL) : 0;
    w.length_us = MINUTE_US;
    w.start_us = (uint64_t)(loop_wall_us(r->loop) - MINUTE_US);
    w.count = 60;
    w.min = w.mean - 1;
    w.max = w.mean + 1;
    c.set = k->set;
    c.window = windows;
    c.n_window = 1;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &c;
    give(r, k->id, &record, 0);
}

static void stop(struct rig *r)
{
    publish_stop(r->publish);
    loop_stop(r->loop);
}

static void on_stats(struct rig *r)
{
    BUFFER(json, 64 * 1024);
    publish_json(r->publish, &json);
    printf("%.*s\n", (int)json.len, (const char *)json.ptr);
    fflush(stdout);
}

static void on_line(struct rig *r, char *line)
{
    const char *verb = strsep(&line, " ");
    const char *device = line != NULL ? strsep(&line, " ") : NULL;
    struct known *k = device != NULL ? find(r, device) : NULL;
    if (strcmp(verb, "stop") == 0) {
        stop(r);
    } else if (strcmp(verb, "stats") == 0) {
        on_stats(r);
    } else if (k == NULL || line == NULL) {
        log_error("not understood", KV_STR("line", verb));
    } else if (strcmp(verb, "describe") == 0) {
        on_describe(r, k, line);
    } else if (strcmp(verb, "row") == 0) {
        on_row(r, k, line);
    } else if (strcmp(verb, "window") == 0) {
        on_window(r, k, line);
    } else if (strcmp(verb, "device") == 0) {
        publish_device_state(r->publish, device, strcmp(line, "online") == 0);
    } else {
        log_error("not understood", KV_STR("line", verb));
    }
}

static void on_input(void *arg, unsigned events)
{
    struct rig *r = arg;
    (void)events;
    ssize_t len = read(STDIN_FILENO, r->line + r->len, sizeof(r->line) - r->len);
    if (len <= 0) {
        stop(r);
        return;
    }
    r->len += (size_t)len;
    char *at = r->line, *end;
    while ((end = memchr(at, '\n', r->len - (size_t)(at - r->line))) != NULL) {
        *end = '\0';
        on_line(r, at);
        at = end + 1;
    }
    r->len -= (size_t)(at - r->line);
    memmove(r->line, at, r->len);
}

struct arguments {
    struct publish_options *o;
    struct bus_options *servers;
    uint16_t port;
};

/* --port P --topic TEMPLATE [--format protobuf], --servers P,P.. --group G [--host H] */
static bool read_argument(struct arguments *a, const char *name, char *value)
{
    struct publish_options *o = a->o;
    if (strcmp(name, "--port") == 0) {
        a->port = (uint16_t)strtoul(value, NULL, 10);
    } else if (strcmp(name, "--topic") == 0) {
        o->topic = value;
    } else if (strcmp(name, "--format") == 0) {
        o->form = strcmp(value, "protobuf") == 0 ? PUBLISH_PROTOBUF : PUBLISH_JSON;
    } else if (strcmp(name, "--group") == 0) {
        o->group = value;
    } else if (strcmp(name, "--host") == 0) {
        o->host = value;
    } else if (strcmp(name, "--servers") == 0) {
        for (char *one; (one = strsep(&value, ",")) != NULL && o->server_count < PUBLISH_SERVERS_MAX;) {
            a->servers[o->server_count++] = (struct bus_options){
                .host = "127.0.0.1", .port = (uint16_t)strtoul(one, NULL, 10), .client_id = "gw1-sparkplug",
                .keepalive_s = 5};
        }
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct rig r;
    static struct bus_options servers[PUBLISH_SERVERS_MAX];
    struct publish_options o = {.site = "hall", .gateway = "gw1", .area = "wet", .line = "l1", .software = "rig",
                                .servers = servers, .backend = BUS_NATIVE, .interval_us = 100 * MS_US};
    struct arguments arguments = {.o = &o, .servers = servers};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !read_argument(&arguments, argv[i], argv[i + 1])) {
            fprintf(stderr, "usage: see the head of tests/support/publish_rig.c\n");
            return 2;
        }
    }
    struct fault fault = {.code = OK};
    struct bus_options plant = {.host = "127.0.0.1", .port = arguments.port, .client_id = "gw1"};
    log_setup("weir-publish-rig", LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN);
    buffer_init(&r.record, WIRE_RECORD_MAX);
    if (loop_new(&r.loop) != OK ||
        (o.topic != NULL && bus_new(BUS_NATIVE, r.loop, &plant, &r.plant, &fault) != OK) ||
        publish_new(r.loop, r.plant, &o, &r.publish, &fault) != OK || publish_start(r.publish) != OK ||
        (r.plant != NULL && bus_start(r.plant) != OK) ||
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0 ||
        loop_watch_new(r.loop, STDIN_FILENO, LOOP_READ, on_input, &r, &r.watch) != OK) {
        fprintf(stderr, "cannot start: %s\n", fault.text);
        return 1;
    }
    enum err err = loop_run(r.loop);
    publish_free(r.publish);
    bus_free(r.plant);
    loop_watch_free(r.watch);
    buffer_deinit(&r.record);
    loop_free(r.loop);
    return err == OK ? 0 : 1;
}
