/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: both real back-ends keep a session with a real Mosquitto: publish and subscribe, across its death, over TLS,
 * and with a clear reason where they cannot. Run as `test_broker native`, `test_broker native5` (MQTT 5) and
 * `test_broker paho`.
 */
#include "tests/unit/core/bus/broker.h"
#include "tests/unit/core/bus/rig.h"

#include "core/crypt/crypt.h"

static enum bus_backend backend;
static enum bus_version version;

struct scene {
    struct rig rig;
    struct broker broker;
    struct client a, b;
    struct crypt_tls *tls;
};

static void scene_begin(struct scene *s)
{
    *s = (struct scene){0};
    rig_begin(&s->rig);
    broker_begin(&s->broker);
}

static void scene_end(struct scene *s)
{
    bus_free(s->a.bus);
    bus_free(s->b.bus);
    crypt_tls_free(s->tls);
    broker_end(&s->broker);
    rig_end(&s->rig);
}

/* A client on the broker's port that listens to filter. */
static void join(struct scene *s, struct client *c, const char *id, const char *filter)
{
    client_begin(c, &s->rig, backend, &(struct bus_options){.version = version, .port = s->broker.port, .client_id = id, .tls = s->tls});
    if (filter != NULL) {
        CHECK_OK(bus_subscribe(c->bus, filter, 1));
    }
    CHECK_OK(bus_start(c->bus));
    RIG_WAIT(&s->rig, client_is_up, c);
    c->downs = 0; /* refused while the broker was starting */
    CHECK_INT(bus_version(c->bus), version);
}

static bool a_has_what_b_sent(void *arg)
{
    struct scene *s = arg;
    client_pump(&s->b);
    return s->a.received >= s->b.to_send && s->b.sent == s->b.to_send;
}

static bool both_have_everything(void *arg)
{
    struct scene *s = arg;
    client_pump(&s->a);
    client_pump(&s->b);
    return s->a.received >= s->b.to_send && s->b.received >= s->a.to_send;
}

static void messages_pass_both_ways_at_qos_0_and_1_in_order(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", "to/a/+");
    CHECK_CONTAINS(s.a.reason, "connected to 127.0.0.1");
    join(&s, &s.b, "b", "to/b/#");
    s.a.to = "to/b/x";
    s.b.to = "to/a/x";
    for (unsigned qos = 0; qos <= 1; qos++) {
        s.a.qos = s.b.qos = qos;
        s.a.to_send += 500;
        s.b.to_send += 500;
        RIG_WAIT(&s.rig, both_have_everything, &s);
    }
    CHECK_INT(s.a.out_of_order, 0);
    CHECK_INT(s.b.out_of_order, 0);
    CHECK_INT(s.a.received, 1000);
    CHECK_STR(s.a.topic, "to/a/x");
    CHECK_INT(s.a.last_len, 200);
    struct bus_stats stats;
    bus_stats(s.a.bus, &stats);
    CHECK_INT(stats.published, 1000);
    CHECK_INT(stats.received, 1000);
    CHECK_INT(stats.connects, 1);
    CHECK_INT(stats.dropped, 0);
    CHECK(stats.bytes_in > 200000 && stats.bytes_out > 200000);
    scene_end(&s);
}

static bool a_received(void *arg)
{
    return ((struct scene *)arg)->a.received > 0;
}

enum { LAST_KEPT = 50 };

static bool a_has_the_last_kept(void *arg)
{
    return ((struct scene *)arg)->a.last == LAST_KEPT;
}

static void retained_messages_are_marked_and_empty_payloads_pass(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.b, "b", NULL);
    for (uint32_t number = 1; number <= LAST_KEPT; number++) {
        CHECK_OK(bus_publish(s.b.bus, slice_str("kept"), slice_of(&number, sizeof(number)), 0, true));
    }
    bus_free(take(s.b.bus)); /* the farewell overtakes none of them */
    join(&s, &s.a, "a", "kept");
    RIG_WAIT(&s.rig, a_has_the_last_kept, &s);
    CHECK_INT(s.a.retained, 1);
    s.a.received = s.a.retained = 0;
    join(&s, &s.b, "b", NULL);
    CHECK_OK(bus_publish(s.b.bus, slice_str("kept"), slice_of(NULL, 0), 1, true));
    RIG_WAIT(&s.rig, a_received, &s);
    CHECK_INT(s.a.retained, 0); /* live ones are not marked */
    CHECK_INT(s.a.last_len, 0);
    scene_end(&s);
}

static void a_subscription_made_while_up_counts(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", NULL);
    join(&s, &s.b, "b", NULL);
    CHECK_OK(bus_publish(s.b.bus, slice_str("late"), slice_str("0123456789"), 0, true));
    CHECK_OK(bus_subscribe(s.a.bus, "late", 0));
    RIG_WAIT(&s.rig, a_received, &s);
    scene_end(&s);
}

static bool both_down(void *arg)
{
    struct scene *s = arg;
    return s->a.downs > 0 && s->b.downs > 0;
}

static bool both_up(void *arg)
{
    struct scene *s = arg;
    return client_is_up(&s->a) && client_is_up(&s->b);
}

static void a_killed_broker_is_noticed_and_the_session_comes_back_with_its_subscriptions(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", "t");
    join(&s, &s.b, "b", NULL);
    s.b.to = "t";
    for (unsigned round = 1; round <= 3; round++) {
        s.a.downs = s.b.downs = 0;
        broker_kill(&s.broker);
        RIG_WAIT(&s.rig, both_down, &s);
        CHECK_INT(bus_state(s.a.bus), BUS_DOWN);
        CHECK_ERR(bus_publish(s.a.bus, slice_str("t"), slice_str("x"), 0, false), ERR_AGAIN);
        broker_start(&s.broker);
        RIG_WAIT(&s.rig, both_up, &s);
        CHECK_INT(s.a.ups, round + 1);
        s.a.received = 0;
        s.b.sent = 0;
        s.b.to_send = 100;
        s.a.last = 0;
        RIG_WAIT(&s.rig, a_has_what_b_sent, &s);
        CHECK_INT(s.a.received, 100);
        CHECK_INT(s.a.out_of_order, 0);
    }
    scene_end(&s);
}

static void a_port_where_nobody_listens_is_told_once_and_tried_again(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    broker_kill(&s.broker);
    client_begin(&s.a, &s.rig, backend, &(struct bus_options){.version = version, .port = s.broker.port});
    CHECK_OK(bus_start(s.a.bus));
    RIG_WAIT(&s.rig, client_was_told_down, &s.a);
    CHECK_CONTAINS(s.a.reason, "127.0.0.1");
    CHECK_CONTAINS(s.a.reason, "Connection refused");
    (void)rig_run(&s.rig, NULL, NULL, 500 * MS_US);
    CHECK_INT(s.a.downs, 1);
    broker_start(&s.broker);
    RIG_WAIT(&s.rig, client_is_up, &s.a);
    scene_end(&s);
}

static void two_clients_with_one_id_throw_each_other_out(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "same", NULL);
    s.a.free_on_state = true;
    join(&s, &s.b, "same", NULL);
    RIG_WAIT(&s.rig, client_is_freed, &s.a); /* freed from on_state */
    CHECK_INT(s.a.downs, 1);
    CHECK_CONTAINS(s.a.reason, "closed by the broker");
    scene_end(&s);
}

static void a_message_above_the_packet_limit_ends_the_session(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    client_begin(&s.a, &s.rig, backend,
                 &(struct bus_options){.version = version, .port = s.broker.port, .client_id = "a", .packet_limit_bytes = 10000});
    CHECK_OK(bus_subscribe(s.a.bus, "t", 1));
    CHECK_OK(bus_start(s.a.bus));
    RIG_WAIT(&s.rig, client_is_up, &s.a);
    s.a.downs = 0;
    join(&s, &s.b, "b", NULL);
    static uint8_t large[20000];
    CHECK_OK(bus_publish(s.b.bus, slice_str("t"), slice_of(large, sizeof(large)), 0, false));
    RIG_WAIT(&s.rig, client_was_told_down, &s.a);
    CHECK_CONTAINS(s.a.down_reason, "above the limit");
    RIG_WAIT(&s.rig, client_is_up, &s.a);
    CHECK_INT(s.a.received, 0);
    scene_end(&s);
}

static bool freed_while_b_sends(void *arg)
{
    struct scene *s = arg;
    s->b.to_send += s->b.sent == s->b.to_send; /* until the subscription is there */
    client_pump(&s->b);
    return client_is_freed(&s->a);
}

static void a_session_may_be_freed_while_messages_pour_in(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", "t");
    join(&s, &s.b, "b", NULL);
    s.b.to = "t";
    s.b.to_send = 2000;
    client_pump(&s.b);
    RIG_WAIT(&s.rig, a_received, &s);
    bus_free(take(s.a.bus));
    unsigned received = s.a.received;
    RIG_WAIT(&s.rig, client_is_up, &s.b);
    client_begin(&s.a, &s.rig, backend, &(struct bus_options){.version = version, .port = s.broker.port}); /* freed before it connects */
    CHECK_OK(bus_start(s.a.bus));
    (void)rig_run(&s.rig, NULL, NULL, 0);
    bus_free(take(s.a.bus));
    CHECK_INT(s.a.received, 0);
    CHECK(received > 0);
    join(&s, &s.a, "a2", NULL);
    s.a.received = 0;
    s.a.free_on_message = true;
    CHECK_OK(bus_subscribe(s.a.bus, "u", 0));
    s.b.to = "u";
    s.b.to_send = s.b.sent + 100;
    RIG_WAIT(&s.rig, freed_while_b_sends, &s);
    CHECK_INT(s.a.received, 1);
    scene_end(&s);
}

static void a_burst_of_20000_both_ways_arrives_in_order(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", "to/a");
    join(&s, &s.b, "b", "to/b");
    s.a.to = "to/b";
    s.b.to = "to/a";
    s.a.to_send = s.b.to_send = 20000;
    RIG_WAIT(&s.rig, both_have_everything, &s);
    CHECK_INT(s.a.received, 20000);
    CHECK_INT(s.b.received, 20000);
    CHECK_INT(s.a.out_of_order, 0);
    CHECK_INT(s.b.out_of_order, 0);
    scene_end(&s);
}

/* ---- TLS ---- */
static struct crypt_tls *load_tls(const struct scene *s, const char *ca)
{
    char ca_path[128], cert[128], key[128];
    snprintf(ca_path, sizeof(ca_path), "%s/%s", s->broker.dir, ca);
    snprintf(cert, sizeof(cert), "%s/client.pem", s->broker.dir);
    snprintf(key, sizeof(key), "%s/client.key", s->broker.dir);
    struct crypt_tls *tls = NULL;
    struct fault fault = {0};
    struct crypt_tls_options options = {.ca_path = ca_path, .cert_path = cert, .key_path = key};
    if (crypt_tls_new(&options, &tls, &fault) != OK) {
        fail_msg("%s", fault.text);
    }
    return tls;
}

static void scene_begin_tls(struct scene *s, const char *broker_name)
{
    scene_begin(s);
    broker_kill(&s->broker);
    broker_make_certificates(&s->broker);
    char more[512];
    snprintf(more, sizeof(more), "cafile %s/ca.pem\ncertfile %s/%s.pem\nkeyfile %s/%s.key\nrequire_certificate true",
             s->broker.dir, s->broker.dir, broker_name, s->broker.dir, broker_name);
    broker_configure(&s->broker, more);
    broker_start(&s->broker);
}

static void messages_pass_over_tls_and_the_session_comes_back(void **state)
{
    (void)state;
    struct scene s;
    scene_begin_tls(&s, "broker");
    s.tls = load_tls(&s, "ca.pem");
    join(&s, &s.a, "a", "t");
    CHECK_CONTAINS(s.a.reason, "over TLS");
    join(&s, &s.b, "b", NULL);
    s.b.to = "t";
    s.b.qos = 1;
    s.b.to_send = 1000;
    RIG_WAIT(&s.rig, a_has_what_b_sent, &s);
    CHECK_INT(s.a.out_of_order, 0);
    s.b.qos = 0;
    s.b.to_send = 6000; /* 1 MB: many records a read */
    RIG_WAIT(&s.rig, a_has_what_b_sent, &s);
    CHECK_INT(s.a.out_of_order, 0);
    s.a.downs = s.b.downs = 0;
    broker_kill(&s.broker);
    RIG_WAIT(&s.rig, both_down, &s);
    broker_start(&s.broker);
    RIG_WAIT(&s.rig, both_up, &s);
    scene_end(&s);
}

static void a_large_message_passes_over_tls(void **state)
{
    (void)state;
    struct scene s;
    scene_begin_tls(&s, "broker");
    s.tls = load_tls(&s, "ca.pem");
    join(&s, &s.a, "a", "t");
    join(&s, &s.b, "b", NULL);
    static uint8_t large[200000];
    CHECK_OK(bus_publish(s.b.bus, slice_str("t"), slice_of(large, sizeof(large)), 1, false));
    RIG_WAIT(&s.rig, a_received, &s);
    CHECK_INT(s.a.last_len, sizeof(large));
    scene_end(&s);
}

static void expect_refusal(struct scene *s, const char *why)
{
    client_begin(&s->a, &s->rig, backend, &(struct bus_options){.version = version, .port = s->broker.port, .tls = s->tls});
    CHECK_OK(bus_start(s->a.bus));
    RIG_WAIT(&s->rig, client_was_told_down, &s->a);
    for (int i = 0; strstr(s->a.reason, "Connection refused") != NULL && i < 10; i++) { /* the broker was starting */
        s->a.downs = 0;
        RIG_WAIT(&s->rig, client_was_told_down, &s->a);
    }
    CHECK_CONTAINS(s->a.reason, why);
    CHECK_INT(s->a.ups, 0);
}

static void a_certificate_for_another_name_is_refused_and_named(void **state)
{
    (void)state;
    struct scene s;
    scene_begin_tls(&s, "other");
    s.tls = load_tls(&s, "ca.pem");
    expect_refusal(&s, "TLS: the broker's certificate does not name: 127.0.0.1");
    scene_end(&s);
}

static void a_certificate_of_a_foreign_ca_is_refused(void **state)
{
    (void)state;
    struct scene s;
    scene_begin_tls(&s, "broker");
    s.tls = load_tls(&s, "foreign.pem");
    expect_refusal(&s, "TLS: the broker's certificate is refused: ");
    scene_end(&s);
}

static void tls_to_a_plain_port_fails_with_a_reason(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    broker_make_certificates(&s.broker);
    s.tls = load_tls(&s, "ca.pem");
    expect_refusal(&s, "connection "); /* closed by the broker, or lost by a reset: a matter of timing */
    scene_end(&s);
}

struct mortal {
    struct client client;
    uint32_t connects;
};

/* A will of its own number for every CONNECT. */
static void mortal_connect(void *arg)
{
    struct mortal *m = container_of(arg, struct mortal, client);
    m->connects++;
    CHECK_OK(bus_set_will(m->client.bus, &(struct bus_will){.topic = "gone/b",
                                                            .payload = slice_of(&m->connects, sizeof(m->connects)),
                                                            .qos = 1}));
}

static bool is_up_again(void *arg)
{
    struct client *c = arg;
    return c->downs > 0 && client_is_up(c);
}

static void the_will_of_its_connect_is_published_when_a_session_dies_and_not_when_it_leaves(void **state)
{
    (void)state;
    struct scene s;
    scene_begin(&s);
    join(&s, &s.a, "a", "gone/#");
    static struct mortal b;
    b = (struct mortal){0};
    client_begin(&b.client, &s.rig, backend, &(struct bus_options){.version = version, .port = s.broker.port, .client_id = "b"});
    bus_on_connect(b.client.bus, mortal_connect, &b.client);
    CHECK_OK(bus_start(b.client.bus));
    RIG_WAIT(&s.rig, client_is_up, &b.client);
    CHECK_INT(b.connects, 1);
    join(&s, &s.b, "b", NULL); /* takes the session over */
    RIG_WAIT(&s.rig, client_was_told_down, &b.client);
    bus_free(take(s.b.bus));
    RIG_WAIT(&s.rig, a_received, &s);
    CHECK_INT(s.a.last, 1);
    RIG_WAIT(&s.rig, is_up_again, &b.client);
    CHECK(b.connects >= 2);
    unsigned before = s.a.received;
    bus_free(take(b.client.bus)); /* says DISCONNECT */
    join(&s, &s.b, "c", NULL);    /* what the broker has to say comes before this: one marker round trip */
    CHECK_OK(bus_publish(s.b.bus, slice_str("gone/marker"), slice_of("mark", 4), 1, false));
    s.a.topic[0] = '\0';
    while (strcmp(s.a.topic, "gone/marker") != 0) {
        s.a.received = 0;
        RIG_WAIT(&s.rig, a_received, &s);
        CHECK_STR(s.a.topic, "gone/marker");
    }
    CHECK(before >= 1);
    scene_end(&s);
}

int main(int argc, char **argv)
{
    backend = argc > 1 && strcmp(argv[1], "paho") == 0 ? BUS_PAHO : BUS_NATIVE;
    version = argc > 1 && strcmp(argv[1], "native5") == 0 ? BUS_MQTT_5 : BUS_MQTT_3;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_pass_both_ways_at_qos_0_and_1_in_order),
        cmocka_unit_test(retained_messages_are_marked_and_empty_payloads_pass),
        cmocka_unit_test(a_subscription_made_while_up_counts),
        cmocka_unit_test(a_killed_broker_is_noticed_and_the_session_comes_back_with_its_subscriptions),
        cmocka_unit_test(a_port_where_nobody_listens_is_told_once_and_tried_again),
        cmocka_unit_test(two_clients_with_one_id_throw_each_other_out),
        cmocka_unit_test(a_message_above_the_packet_limit_ends_the_session),
        cmocka_unit_test(a_session_may_be_freed_while_messages_pour_in),
        cmocka_unit_test(a_burst_of_20000_both_ways_arrives_in_order),
        cmocka_unit_test(messages_pass_over_tls_and_the_session_comes_back),
        cmocka_unit_test(a_large_message_passes_over_tls),
        cmocka_unit_test(a_certificate_for_another_name_is_refused_and_named),
        cmocka_unit_test(a_certificate_of_a_foreign_ca_is_refused),
        cmocka_unit_test(tls_to_a_plain_port_fails_with_a_reason),
        cmocka_unit_test(the_will_of_its_connect_is_published_when_a_session_dies_and_not_when_it_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
