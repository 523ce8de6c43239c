/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the native session survives whatever a broker does to it, says why it ended, and comes back. The broker is a
 * script in the same loop: it answers, keeps silent, sends garbage, stops reading.
 */
#include "tests/unit/core/bus/rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bus/mqtt.h"
#include "core/bus/mqtt5.h"

enum { FAKE_READ = 64 << 10 };

/* The scripted broker: one connection at a time. */
struct fake {
    struct loop *loop;
    int listener, fd; /* fd -1: nobody connected */
    struct loop_watch *listen_watch, *watch;
    struct loop_timer slow; /* reads a little at each tick */
    uint16_t port;
    struct buffer in;
    size_t in_at;
    /* script */
    bool mute_connect, mute_subscribe, mute_ping, stopped, slow_reader;
    uint8_t connack, suback;
    enum { TAKES_5, SAYS_1, SAYS_84, HANGS_UP } at5; /* to a CONNECT of MQTT 5 */
    struct slice announces;                          /* properties of the CONNACK of MQTT 5 */
    /* seen */
    bool takes_no_retain;
    uint8_t level, flags; /* of the last CONNECT */
    uint8_t qos;   /* of the last PUBLISH */
    size_t properties;
    unsigned connects, subscribes, pings, publishes, out_of_order, pubacks, disconnects, closed;
    uint32_t last;
    uint16_t last_puback;
    char peer[INET_ADDRSTRLEN]; /* address of the last connection */
};

static void fake_send(struct fake *f, const void *ptr, size_t len)
{
    CHECK_INT(send(f->fd, ptr, len, MSG_NOSIGNAL), (long long)len);
}

static void fake_hang_up(struct fake *f)
{
    loop_watch_free(f->watch);
    f->watch = NULL;
    if (f->fd >= 0) {
        close(f->fd);
        f->fd = -1;
    }
    buffer_reset(&f->in);
    f->in_at = 0;
}

static void fake_publish(struct fake *f, uint32_t number, uint8_t qos, size_t len)
{
    BUFFER(out, 4 << 20);
    uint8_t *payload = calloc(1, len);
    CHECK(payload != NULL);
    memcpy(payload, &number, sizeof(number));
    mqtt_put_publish(&out, &(struct mqtt_publish){.topic = slice_str("t"), .payload = slice_of(payload, len),
                                                  .qos = qos, .id = qos ? (uint16_t)number : 0});
    fake_send(f, out.ptr, out.len);
    free(payload);
}

static void fake_connack5(struct fake *f)
{
    static const uint8_t says_1[] = {0x20, 2, 0, 1}, says_84[] = {0x20, 3, 0, 0x84, 0};
    uint8_t head[] = {0x20, (uint8_t)(3 + f->announces.len), 0, f->connack, (uint8_t)f->announces.len};
    switch (f->at5) {
    case TAKES_5:
        fake_send(f, head, sizeof(head));
        if (f->announces.len > 0) {
            fake_send(f, f->announces.ptr, f->announces.len);
        }
        break;
    case SAYS_1: fake_send(f, says_1, sizeof(says_1)); break;
    case SAYS_84: fake_send(f, says_84, sizeof(says_84)); break;
    case HANGS_UP: fake_hang_up(f); break;
    }
}

static void fake_packet(struct fake *f, const struct mqtt_packet *p)
{
    struct mqtt_publish publish;
    struct slice properties = {0};
    switch (p->type) {
    case MQTT_CONNECT:
        f->connects++;
        f->level = p->body.ptr[6];
        f->flags = p->body.ptr[7];
        if (f->takes_no_retain && (f->flags & 0x20) != 0) {
            fake_send(f, (uint8_t[]){0x20, 3, 0, 0x9a, 0}, 5);
        } else if (f->level == 5) {
            fake_connack5(f);
        } else if (!f->mute_connect) {
            fake_send(f, (uint8_t[]){0x20, 2, 0, f->connack}, 4);
        }
        break;
    case MQTT_SUBSCRIBE:
        f->subscribes++;
        if (!f->mute_subscribe && f->level == 5) {
            fake_send(f, (uint8_t[]){0x90, 4, p->body.ptr[0], p->body.ptr[1], 0, f->suback}, 6);
        } else if (!f->mute_subscribe) {
            fake_send(f, (uint8_t[]){0x90, 3, p->body.ptr[0], p->body.ptr[1], f->suback}, 5);
        }
        break;
    case MQTT_PINGREQ:
        f->pings++;
        if (!f->mute_ping) {
            fake_send(f, (uint8_t[]){0xd0, 0}, 2);
        }
        break;
    case MQTT_PUBLISH:
        CHECK_OK(f->level == 5 ? mqtt5_read_publish(p, &publish, &properties) : mqtt_read_publish(p, &publish));
        f->qos = publish.qos;
        f->properties = properties.len;
        uint32_t number;
        memcpy(&number, publish.payload.ptr, sizeof(number));
        f->out_of_order += number != f->last + 1;
        f->last = number;
        f->publishes++;
        if (publish.qos == 1) {
            fake_send(f, (uint8_t[]){0x40, 2, (uint8_t)(publish.id >> 8), (uint8_t)publish.id}, 4);
        }
        break;
    case MQTT_PUBACK:
        f->pubacks++;
        CHECK_OK(mqtt_read_puback(p, &f->last_puback));
        break;
    case MQTT_DISCONNECT:
        f->disconnects++;
        break;
    default:
        fail_msg("the client sent packet type %d", p->type);
    }
}

static void fake_read(struct fake *f, size_t most)
{
    uint8_t *at = buffer_extend(&f->in, most);
    CHECK(at != NULL);
    ssize_t n = recv(f->fd, at, most, MSG_DONTWAIT);
    f->in.len -= most - (n > 0 ? (size_t)n : 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        f->closed++;
        fake_hang_up(f);
        return;
    }
    struct mqtt_packet p;
    while (f->fd >= 0 &&
           mqtt_next(slice_of(f->in.ptr + f->in_at, f->in.len - f->in_at), SIZE_MAX, &p) == OK) {
        f->in_at += p.size;
        fake_packet(f, &p);
    }
    if (f->in_at == f->in.len) {
        buffer_reset(&f->in);
        f->in_at = 0;
    }
}

static void fake_readable(void *arg, unsigned events)
{
    (void)events;
    struct fake *f = arg;
    fake_read(f, FAKE_READ);
}

static void fake_slow_tick(void *arg)
{
    struct fake *f = arg;
    if (f->fd >= 0) {
        fake_read(f, 4 << 10);
    }
    loop_timer_in(&f->slow, 40 * MS_US);
}

static void fake_accept(void *arg, unsigned events)
{
    (void)events;
    struct fake *f = arg;
    fake_hang_up(f);
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    f->fd = accept(f->listener, (struct sockaddr *)&from, &len);
    CHECK(f->fd >= 0);
    CHECK(inet_ntop(AF_INET, &from.sin_addr, f->peer, sizeof(f->peer)) != NULL);
    if (!f->stopped) {
        CHECK_OK(loop_watch_new(f->loop, f->fd, LOOP_READ, fake_readable, f, &f->watch));
    }
}

static void fake_begin(struct fake *f, struct rig *r)
{
    *f = (struct fake){.loop = r->loop, .fd = -1};
    buffer_init(&f->in, 64 << 20);
    loop_timer_init(&f->slow, r->loop, fake_slow_tick, f);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int small = 16 << 10; /* so that back-pressure comes soon */
    CHECK_INT(setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    CHECK_INT(bind(f->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_INT(listen(f->listener, 8), 0);
    CHECK_INT(getsockname(f->listener, (struct sockaddr *)&at, &len), 0);
    f->port = ntohs(at.sin_port);
    CHECK_OK(loop_watch_new(r->loop, f->listener, LOOP_READ, fake_accept, f, &f->listen_watch));
}

static void fake_end(struct fake *f)
{
    loop_timer_cancel(&f->slow);
    fake_hang_up(f);
    loop_watch_free(f->listen_watch);
    close(f->listener);
    buffer_deinit(&f->in);
}

struct scene {
    struct rig rig;
    struct fake fake;
    struct client client;
};

static void scene_begin(struct scene *s, struct bus_options options)
{
    rig_begin(&s->rig);
    fake_begin(&s->fake, &s->rig);
    options.port = s->fake.port;
    client_begin(&s->client, &s->rig, BUS_NATIVE, &options);
    CHECK_OK(bus_subscribe(s->client.bus, "t", 1));
}

static void scene_up(struct scene *s, struct bus_options options)
{
    scene_begin(s, options);
    CHECK_OK(bus_start(s->client.bus));
    RIG_WAIT(&s->rig, client_is_up, &s->client);
}

static void scene_end(struct scene *s)
{
    bus_free(s->client.bus);
    fake_end(&s->fake);
    rig_end(&s->rig);
}

static bool came_back(void *arg)
{
    struct scene *s = arg;
    return s->client.ups == 2 && s->fake.connects == 2;
}

static void scene_expect_end(struct scene *s, const char *why)
{
    RIG_WAIT(&s->rig, client_was_told_down, &s->client);
    CHECK_CONTAINS(s->client.down_reason, why);
    RIG_WAIT(&s->rig, came_back, s);
}

/* ---- tests ---- */
static void garbage_ends_the_session_with_a_reason_and_it_comes_back(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        {"\x30\xff\xff\xff\xff\x7f", 6, "bad packet length"},
        {"\x30\x02\0\0", 4, "malformed PUBLISH"},
        {"\x34\x06\0\1t\0\1x", 8, "QoS 2"},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, "malformed PUBACK"}, /* 'H' is 0x48, 84 bytes: cut below */
        {"\x20\x02\0\0", 4, "unexpected or malformed CONNACK"},
        {"\x90\x01\0", 3, "malformed SUBACK"},
        {"\x40\x01\0", 3, "malformed PUBACK"},
        {"\xf0\0", 2, "unexpected packet type 15"},
        {"\0\0", 2, "unexpected packet type 0"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct scene s;
        scene_up(&s, (struct bus_options){0});
        fake_send(&s.fake, rows[i].bytes, rows[i].len);
        if (rows[i].bytes[0] == 'H') { /* the rest of what the text's second byte announces */
            char rest[100] = {0};
            fake_send(&s.fake, rest, sizeof(rest));
        }
        scene_expect_end(&s, rows[i].why);
        CHECK_INT(s.client.received, 0);
        scene_end(&s);
    }
}

static void a_packet_above_the_limit_ends_the_session_before_it_has_arrived(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.packet_limit_bytes = 1000});
    fake_send(&s.fake, (uint8_t[]){0x30, 0xff, 0xff, 0x7f}, 4);
    scene_expect_end(&s, "packet of 2097155 bytes is above the limit");
    scene_end(&s);
}

static bool received_three(void *arg)
{
    return ((struct client *)arg)->received == 3;
}

static bool received_four(void *arg)
{
    return ((struct client *)arg)->received == 4;
}

static bool client_received_two(void *arg)
{
    return ((struct client *)arg)->received == 2;
}

static void pieces_of_a_packet_are_put_together_and_a_cut_one_is_dropped(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    BUFFER(out, 1 << 16);
    for (uint32_t n = 1; n <= 3; n++) {
        mqtt_put_publish(&out, &(struct mqtt_publish){.topic = slice_str("t"), .payload = slice_of(&n, sizeof(n))});
    }
    for (size_t i = 0; i + 3 < out.len; i++) { /* the last packet lacks three bytes */
        fake_send(&s.fake, out.ptr + i, 1);
        (void)rig_run(&s.rig, NULL, NULL, 0);
    }
    RIG_WAIT(&s.rig, client_received_two, &s.client);
    fake_hang_up(&s.fake);
    scene_expect_end(&s, "closed by the broker");
    CHECK_INT(s.client.received, 2);
    CHECK_INT(s.client.out_of_order, 0);
    scene_end(&s);
}

static void a_message_larger_than_the_read_buffer_arrives(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.packet_limit_bytes = 2 << 20});
    fake_publish(&s.fake, 1, 0, 100);
    fake_publish(&s.fake, 2, 0, 1 << 20);
    fake_publish(&s.fake, 3, 0, 100);
    RIG_WAIT(&s.rig, received_three, &s.client);
    CHECK_INT(s.client.out_of_order, 0);
    CHECK_INT(s.client.downs, 0);
    scene_end(&s);
}

static void silence_of_the_broker_is_noticed_by_the_keep_alive(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){.keepalive_s = 1});
    s.fake.mute_ping = true;
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    int64_t since_us = loop_now_us(s.rig.loop);
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_CONTAINS(s.client.down_reason, "no answer from the broker");
    CHECK_INT(s.fake.pings, 1);
    CHECK(loop_now_us(s.rig.loop) - since_us >= 1400 * MS_US); /* not before its time */
    scene_end(&s);
}

static bool three_pings(void *arg)
{
    return ((struct fake *)arg)->pings >= 3;
}

static void a_broker_that_answers_pings_keeps_the_session(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.keepalive_s = 1});
    RIG_WAIT(&s.rig, three_pings, &s.fake);
    CHECK_INT(s.client.downs, 0);
    CHECK_INT(s.fake.connects, 1);
    scene_end(&s);
}

static bool everything_arrived(void *arg)
{
    struct scene *s = arg;
    return s->fake.publishes == s->client.to_send || s->client.downs > 0;
}

static void a_slow_link_with_a_backlog_is_not_taken_for_a_dead_one(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.keepalive_s = 1});
    loop_watch_free(take(s.fake.watch)); /* from here on 100 kB/s, while the broker says nothing */
    loop_timer_in(&s.fake.slow, 0);
    s.client.to = "t";
    s.client.to_send = 1500; /* 300 kB: about 3 s, two keep-alive limits */
    client_pump(&s.client);
    CHECK_INT(s.client.sent, 1500);
    RIG_WAIT(&s.rig, everything_arrived, &s);
    CHECK_INT(s.client.downs, 0);
    CHECK_INT(s.fake.publishes, 1500);
    CHECK_INT(s.fake.out_of_order, 0);
    scene_end(&s);
}

static void a_refused_connection_says_why_once(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){0});
    s.fake.connack = 5;
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_STR(s.client.reason, "connection refused: not authorised");
    (void)rig_run(&s.rig, NULL, NULL, 500 * MS_US);
    CHECK(s.fake.connects > 1); /* it tries on */
    CHECK_INT(s.client.downs, 1);
    CHECK_INT(s.client.ups, 0);
    s.fake.connack = 0;
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    scene_end(&s);
}

static bool told_up_twice(void *arg)
{
    return ((struct client *)arg)->ups == 2;
}

static void a_refused_subscription_is_named(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){0});
    s.fake.suback = MQTT_SUBACK_FAILURE;
    CHECK_OK(bus_subscribe(s.client.bus, "other/#", 1));
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_CONTAINS(s.client.reason, "refused to subscribe to \"t\"");
    CHECK_INT(s.fake.subscribes, 2);
    CHECK_OK(bus_subscribe(s.client.bus, "later", 0));
    RIG_WAIT(&s.rig, told_up_twice, &s.client);
    CHECK_CONTAINS(s.client.reason, "refused to subscribe to \"later\"");
    scene_end(&s);
}

static bool subscribed(void *arg)
{
    return ((struct fake *)arg)->subscribes > 0;
}

static void up_is_told_only_when_the_subscriptions_are_answered(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){0});
    s.fake.mute_subscribe = true;
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, subscribed, &s.fake);
    (void)rig_run(&s.rig, NULL, NULL, 50 * MS_US);
    CHECK_INT(s.client.ups, 0);
    CHECK_ERR(bus_publish(s.client.bus, slice_str("t"), slice_str("x"), 0, false), ERR_AGAIN);
    fake_send(&s.fake, (uint8_t[]){0x90, 3, 0, 1, 1}, 5);
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    scene_end(&s);
}

static bool two_pubacks(void *arg)
{
    return ((struct fake *)arg)->pubacks == 2;
}

static void inbound_qos_1_is_acknowledged_and_duplicates_are_passed_up(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    fake_publish(&s.fake, 77, 1, 10);
    fake_publish(&s.fake, 77, 1, 10);
    RIG_WAIT(&s.rig, two_pubacks, &s.fake);
    CHECK_INT(s.fake.last_puback, 77);
    CHECK_INT(s.client.received, 2);
    scene_end(&s);
}

static void a_broker_that_stops_reading_holds_publishing_back_and_nothing_is_lost(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.out_limit_bytes = 256 << 10});
    loop_watch_free(take(s.fake.watch));
    s.client.to = "t";
    s.client.qos = 1;
    s.client.to_send = 40000; /* 8 MB: more than both kernels' buffers */
    client_pump(&s.client);
    (void)rig_run(&s.rig, NULL, NULL, 100 * MS_US);
    CHECK(s.client.sent > 1000 && s.client.sent < 40000);
    struct bus_stats stats;
    bus_stats(s.client.bus, &stats);
    CHECK(stats.refused_again > 0);
    CHECK_OK(loop_watch_new(s.rig.loop, s.fake.fd, LOOP_READ, fake_readable, &s.fake, &s.fake.watch));
    RIG_WAIT(&s.rig, everything_arrived, &s);
    CHECK_INT(s.fake.publishes, 40000);
    CHECK_INT(s.fake.out_of_order, 0);
    CHECK(s.client.writables > 0);
    CHECK_INT(s.client.downs, 0);
    scene_end(&s);
}

static void a_session_may_be_freed_from_its_callbacks(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    s.client.free_on_message = true;
    fake_publish(&s.fake, 1, 1, 10);
    fake_publish(&s.fake, 2, 1, 10);
    RIG_WAIT(&s.rig, client_is_freed, &s.client);
    CHECK_INT(s.client.received, 1);
    scene_end(&s);
    scene_up(&s, (struct bus_options){0});
    s.client.free_on_state = true;
    fake_hang_up(&s.fake);
    RIG_WAIT(&s.rig, client_is_freed, &s.client);
    scene_end(&s);
    scene_begin(&s, (struct bus_options){0});
    s.client.free_on_state = true; /* on UP */
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_freed, &s.client);
    CHECK_INT(s.client.ups, 1);
    scene_end(&s);
}

static bool has_connected(void *arg)
{
    return ((struct fake *)arg)->connects > 0;
}

static bool said_goodbye(void *arg)
{
    return ((struct fake *)arg)->disconnects > 0;
}

static void a_session_may_be_freed_in_any_state_and_says_goodbye_when_up(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){0});
    CHECK_OK(bus_start(s.client.bus)); /* dialling */
    scene_end(&s);
    scene_begin(&s, (struct bus_options){.host = "localhost"});
    CHECK_OK(bus_start(s.client.bus)); /* looking the name up */
    (void)rig_run(&s.rig, NULL, NULL, 0);
    scene_end(&s);
    scene_begin(&s, (struct bus_options){0});
    s.fake.mute_connect = true;
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, has_connected, &s.fake);
    scene_end(&s);
    scene_up(&s, (struct bus_options){.host = "localhost"});
    uint32_t one = 1;
    CHECK_OK(bus_publish(s.client.bus, slice_str("t"), slice_of(&one, sizeof(one)), 0, false));
    bus_free(take(s.client.bus));
    RIG_WAIT(&s.rig, said_goodbye, &s.fake);
    CHECK_INT(s.fake.publishes, 1); /* what was handed over goes first */
    scene_end(&s);
}

static void a_link_that_is_set_down_ends_the_session_at_once_and_stays_down_until_it_is_set_up(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    unsigned connects = s.fake.connects;
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_DOWN));
    CHECK_INT(s.client.downs, 0); /* no call from outside calls back */
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_STR(s.client.down_reason, "the link was cut");
    CHECK_INT(s.fake.disconnects, 0);
    (void)rig_run(&s.rig, NULL, NULL, 500 * MS_US); /* more than the longest back-off */
    CHECK_INT(s.fake.connects, connects);
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_UP));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_INT(s.fake.connects, connects + 1);
    CHECK_ERR(bus_set_link(s.client.bus, BUS_LINK_SILENT), ERR_UNSUPPORTED);
    scene_end(&s);
}

static void a_link_that_is_cut_and_given_back_at_once_comes_back_by_itself(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_DOWN));
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_UP));
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    scene_end(&s);
    scene_begin(&s, (struct bus_options){0}); /* and one that is cut before it ever was */
    CHECK_OK(bus_start(s.client.bus));
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_DOWN));
    CHECK_OK(bus_set_link(s.client.bus, BUS_LINK_UP));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    scene_end(&s);
}

static void a_session_at_rest_leaves_politely_and_comes_back_at_once(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    unsigned connects = s.fake.connects;
    CHECK_OK(bus_rest(s.client.bus, true));
    CHECK_INT(s.client.downs, 0); /* no call from outside calls back */
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_CONTAINS(s.client.down_reason, "at rest");
    (void)rig_run(&s.rig, NULL, NULL, 500 * MS_US); /* more than the longest back-off */
    CHECK_INT(s.fake.disconnects, 1);
    CHECK_INT(s.fake.connects, connects);
    CHECK_OK(bus_rest(s.client.bus, false));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_INT(s.fake.connects, connects + 1);
    scene_end(&s);
    scene_begin(&s, (struct bus_options){0}); /* and one that is told before it ever was */
    CHECK_OK(bus_rest(s.client.bus, true));
    CHECK_OK(bus_start(s.client.bus));
    (void)rig_run(&s.rig, NULL, NULL, 200 * MS_US);
    CHECK_INT(s.fake.connects, 0);
    CHECK_OK(bus_rest(s.client.bus, false));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    scene_end(&s);
}

static void a_connection_comes_from_the_address_that_was_asked_for(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){.source = "127.0.1.7"});
    CHECK_STR(s.fake.peer, "127.0.1.7");
    scene_end(&s);
    scene_begin(&s, (struct bus_options){.source = "not-an-address"});
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_CONTAINS(s.client.reason, "Cannot assign requested address");
    scene_end(&s);
}

static bool fake_heard(void *arg)
{
    return ((struct scene *)arg)->fake.publishes == 1;
}

static void a_paused_session_leaves_messages_where_they_are_and_goes_on_sending(void **state)
{
    (void)state;
    struct scene s;
    scene_up(&s, (struct bus_options){0});
    bus_pause(s.client.bus, true);
    for (uint32_t i = 1; i <= 3; i++) {
        fake_publish(&s.fake, i, 0, 100);
    }
    CHECK_OK(bus_publish(s.client.bus, slice_str("t"), slice_of((const uint8_t *)"\1\0\0\0", 4), 0, false));
    RIG_WAIT(&s.rig, fake_heard, &s);
    CHECK_INT(s.client.received, 0);
    bus_pause(s.client.bus, false);
    RIG_WAIT(&s.rig, received_three, &s.client);
    bus_pause(s.client.bus, true);
    bus_pause(s.client.bus, false); /* nothing came meanwhile */
    fake_publish(&s.fake, 4, 0, 100);
    RIG_WAIT(&s.rig, received_four, &s.client);
    scene_end(&s);
}

static void a_name_that_does_not_exist_is_told(void **state)
{
    (void)state;
    struct rig r;
    rig_begin(&r);
    struct client c;
    client_begin(&c, &r, BUS_NATIVE, &(struct bus_options){.host = "no-such-host.invalid", .port = 1});
    CHECK_OK(bus_start(c.bus));
    RIG_WAIT(&r, client_was_told_down, &c);
    CHECK_CONTAINS(c.reason, "cannot resolve no-such-host.invalid");
    bus_free(c.bus);
    rig_end(&r);
}

/* ---- MQTT 5 ---- */
static void a_server_that_does_not_speak_mqtt_5_is_spoken_to_in_3_1_1(void **state)
{
    (void)state;
    for (int how = SAYS_1; how <= HANGS_UP; how++) {
        struct scene s;
        scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5});
        s.fake.at5 = how;
        CHECK_OK(bus_start(s.client.bus));
        RIG_WAIT(&s.rig, client_is_up, &s.client);
        CHECK_INT(s.fake.connects, 2);
        CHECK_INT(s.fake.level, 4);
        CHECK_INT(bus_version(s.client.bus), BUS_MQTT_3);
        s.fake.at5 = TAKES_5; /* a broker that was updated: the next session is of MQTT 5 */
        fake_hang_up(&s.fake);
        RIG_WAIT(&s.rig, client_was_told_down, &s.client);
        RIG_WAIT(&s.rig, client_is_up, &s.client);
        CHECK_INT(s.fake.level, 5);
        CHECK_INT(bus_version(s.client.bus), BUS_MQTT_5);
        scene_end(&s);
    }
}

static bool three_connects(void *arg)
{
    return ((struct fake *)arg)->connects == 3;
}

static bool two_connects(void *arg)
{
    return ((struct fake *)arg)->connects == 2;
}

static void a_refusal_for_another_reason_is_not_taken_for_one_of_the_version(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5});
    s.fake.connack = 0x87;
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_was_told_down, &s.client);
    CHECK_CONTAINS(s.client.down_reason, "connection refused: not authorised");
    RIG_WAIT(&s.rig, two_connects, &s.fake);
    CHECK_INT(s.fake.level, 5);
    scene_end(&s);
}

static bool published_one(void *arg)
{
    return ((struct fake *)arg)->publishes == 1;
}

static bool published_three(void *arg)
{
    return ((struct fake *)arg)->publishes == 3;
}

static enum err publish(struct scene *s, uint32_t number, size_t len, unsigned qos, bool retain)
{
    uint8_t payload[200] = {0};
    memcpy(payload, &number, sizeof(number));
    const struct bus_property property = {"device", slice_str("pump-7")};
    struct bus_extras extras = {.content_type = "text/plain", .properties = &property, .count = 1};
    return bus_publish_with(s->client.bus, slice_str("t"), slice_of(payload, len), qos, retain, &extras);
}

static void what_a_server_announces_is_obeyed(void **state)
{
    (void)state;
    static const uint8_t announces[] = {0x27, 0, 0, 0, 100, 0x24, 0, 0x25, 0}; /* 100 bytes, QoS 0, nothing retained */
    struct scene s;
    scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5});
    s.fake.announces = slice_of(announces, sizeof(announces));
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_ERR(publish(&s, 1, 10, 0, true), ERR_UNSUPPORTED);
    CHECK_ERR(publish(&s, 1, 90, 0, false), ERR_UNSUPPORTED);
    CHECK_OK(publish(&s, 1, 10, 1, false));
    RIG_WAIT(&s.rig, published_one, &s.fake);
    CHECK_INT(s.fake.qos, 0);
    CHECK_INT(s.fake.properties, 1 + 2 + 10 + 1 + 2 + 6 + 2 + 6);
    CHECK_INT(s.client.downs, 0);
    scene_end(&s);
}

static void no_more_is_unacknowledged_than_the_server_takes(void **state)
{
    (void)state;
    static const uint8_t announces[] = {0x21, 0, 2};
    struct scene s;
    scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5});
    s.fake.announces = slice_of(announces, sizeof(announces));
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_OK(publish(&s, 1, 10, 1, false));
    CHECK_OK(publish(&s, 2, 10, 1, false));
    CHECK_ERR(publish(&s, 3, 10, 1, false), ERR_AGAIN);
    s.client.to = "t";
    s.client.qos = 1;
    s.client.sent = 2;
    s.client.to_send = 3; /* goes when on_writable is told */
    RIG_WAIT(&s.rig, published_three, &s.fake);
    CHECK_INT(s.fake.out_of_order, 0);
    scene_end(&s);
}

static void garbage_of_mqtt_5_ends_the_session_with_a_reason_and_it_comes_back(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        {"\x30\x05\0\1t\5x", 7, "malformed PUBLISH"},   {"\x30\x06\0\1t\3\x23\0", 8, "malformed PUBLISH"},
        {"\x40\x01\0", 3, "malformed PUBACK"},         {"\x90\x03\0\1\0", 5, "malformed SUBACK"},
        {"\xe0\x01\x8e", 3, "taken over by another"},  {"\xe0\x02\x8b\5", 4, "malformed DISCONNECT"},
        {"\x20\x03\0\0\0", 5, "unexpected or malformed CONNACK"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct scene s;
        scene_up(&s, (struct bus_options){.version = BUS_MQTT_5});
        fake_send(&s.fake, rows[i].bytes, rows[i].len);
        scene_expect_end(&s, rows[i].why);
        CHECK_INT(s.fake.level, 5);
        scene_end(&s);
    }
}

static void a_will_is_not_retained_where_the_server_takes_none_that_is(void **state)
{
    (void)state;
    static const uint8_t announces[] = {0x25, 0};
    struct scene s;
    struct bus_will will = {.topic = "t/state", .payload = slice_str("offline"), .retain = true};
    scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5});
    s.fake.takes_no_retain = true;
    s.fake.announces = slice_of(announces, sizeof(announces));
    CHECK_OK(bus_set_will(s.client.bus, &will));
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.client);
    CHECK_INT(s.fake.level, 5);
    CHECK_INT(s.fake.flags, 0x06);
    CHECK_INT(s.fake.connects, 2);
    CHECK_CONTAINS(s.client.down_reason, "retained messages are not taken");
    CHECK_ERR(publish(&s, 1, 10, 0, true), ERR_UNSUPPORTED);
    CHECK_OK(publish(&s, 1, 10, 0, false));
    fake_hang_up(&s.fake);
    RIG_WAIT(&s.rig, three_connects, &s.fake);
    CHECK_INT(s.fake.flags, 0x06); /* known by then */
    scene_end(&s);
}

static bool pinged(void *arg)
{
    return ((struct fake *)arg)->pings > 0;
}

static void the_servers_keep_alive_is_kept_where_it_is_shorter(void **state)
{
    (void)state;
    static const uint8_t announces[] = {0x13, 0, 1};
    struct scene s;
    scene_begin(&s, (struct bus_options){.version = BUS_MQTT_5, .keepalive_s = 3600});
    s.fake.announces = slice_of(announces, sizeof(announces));
    CHECK_OK(bus_start(s.client.bus));
    RIG_WAIT(&s.rig, pinged, &s.fake);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_ends_the_session_with_a_reason_and_it_comes_back),
        cmocka_unit_test(a_packet_above_the_limit_ends_the_session_before_it_has_arrived),
        cmocka_unit_test(pieces_of_a_packet_are_put_together_and_a_cut_one_is_dropped),
        cmocka_unit_test(a_message_larger_than_the_read_buffer_arrives),
        cmocka_unit_test(silence_of_the_broker_is_noticed_by_the_keep_alive),
        cmocka_unit_test(a_broker_that_answers_pings_keeps_the_session),
        cmocka_unit_test(a_slow_link_with_a_backlog_is_not_taken_for_a_dead_one),
        cmocka_unit_test(a_refused_connection_says_why_once),
        cmocka_unit_test(a_refused_subscription_is_named),
        cmocka_unit_test(up_is_told_only_when_the_subscriptions_are_answered),
        cmocka_unit_test(inbound_qos_1_is_acknowledged_and_duplicates_are_passed_up),
        cmocka_unit_test(a_broker_that_stops_reading_holds_publishing_back_and_nothing_is_lost),
        cmocka_unit_test(a_session_may_be_freed_from_its_callbacks),
        cmocka_unit_test(a_session_may_be_freed_in_any_state_and_says_goodbye_when_up),
        cmocka_unit_test(a_link_that_is_set_down_ends_the_session_at_once_and_stays_down_until_it_is_set_up),
        cmocka_unit_test(a_link_that_is_cut_and_given_back_at_once_comes_back_by_itself),
        cmocka_unit_test(a_session_at_rest_leaves_politely_and_comes_back_at_once),
        cmocka_unit_test(a_connection_comes_from_the_address_that_was_asked_for),
        cmocka_unit_test(a_paused_session_leaves_messages_where_they_are_and_goes_on_sending),
        cmocka_unit_test(a_name_that_does_not_exist_is_told),
        cmocka_unit_test(a_server_that_does_not_speak_mqtt_5_is_spoken_to_in_3_1_1),
        cmocka_unit_test(a_refusal_for_another_reason_is_not_taken_for_one_of_the_version),
        cmocka_unit_test(what_a_server_announces_is_obeyed),
        cmocka_unit_test(no_more_is_unacknowledged_than_the_server_takes),
        cmocka_unit_test(garbage_of_mqtt_5_ends_the_session_with_a_reason_and_it_comes_back),
        cmocka_unit_test(a_will_is_not_retained_where_the_server_takes_none_that_is),
        cmocka_unit_test(the_servers_keep_alive_is_kept_where_it_is_shorter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
