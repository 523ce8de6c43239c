/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the in-memory hub behaves as a broker does, its faults hit what they say and nothing else, and a run is
 * repeated bit for bit with the same seed. All in virtual time.
 */
#include "tests/support/check.h"

#include "core/bus/bus.h"

enum { NODES_MAX = 8, LOG_MAX = 4096 };

struct node {
    struct loop *loop;
    struct bus *bus;
    uint32_t numbers[LOG_MAX]; /* payloads received */
    size_t received, retained, ups, downs, writables;
    char topic[64], reason[128];
    bool free_on_message, free_on_state;
    struct loop_world *world;
    int64_t told_us; /* of the last on_state */
    uint32_t connects;
};

struct fixture {
    struct loop_world *world;
    struct bus_hub *hub;
    struct node nodes[NODES_MAX];
    size_t count;
};

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct node *n = arg;
    CHECK_INT(payload.len, sizeof(uint32_t));
    CHECK(n->received < LOG_MAX);
    memcpy(&n->numbers[n->received++], payload.ptr, sizeof(uint32_t));
    n->retained += retained;
    snprintf(n->topic, sizeof(n->topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
    if (n->free_on_message) {
        bus_free(take(n->bus));
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct node *n = arg;
    n->ups += state == BUS_UP;
    n->downs += state == BUS_DOWN;
    n->told_us = loop_now_us(n->loop);
    snprintf(n->reason, sizeof(n->reason), "%s", reason);
    if (n->free_on_state && state == BUS_DOWN) {
        bus_free(take(n->bus));
    }
}

static void on_writable(void *arg)
{
    ((struct node *)arg)->writables++;
}

static void run(struct fixture *f, int64_t for_us)
{
    loop_world_run(f->world, loop_world_now_us(f->world) + for_us);
}

static struct node *add(struct fixture *f, const char *id, const char *filter)
{
    struct node *n = &f->nodes[f->count++];
    CHECK_OK(loop_new_virtual(f->world, &n->loop));
    CHECK_OK(bus_new_memory(f->hub, n->loop, id, &n->bus));
    bus_set_handlers(n->bus, &(struct bus_handlers){on_message, on_state, on_writable, n});
    if (filter != NULL) {
        CHECK_OK(bus_subscribe(n->bus, filter, 1));
    }
    CHECK_OK(bus_start(n->bus));
    return n;
}

static enum err send(struct node *n, const char *topic, uint32_t number, bool retain)
{
    return bus_publish(n->bus, slice_str(topic), slice_of(&number, sizeof(number)), 0, retain);
}

static void begin(struct fixture *f, uint64_t seed)
{
    *f = (struct fixture){0};
    CHECK_OK(loop_world_new(seed, &f->world));
    CHECK_OK(bus_hub_new(f->world, &f->hub));
}

static void end(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++) {
        bus_free(f->nodes[i].bus);
        loop_free(f->nodes[i].loop);
    }
    bus_hub_free(f->hub);
    loop_world_free(f->world);
}

static void a_message_reaches_every_matching_client_once_and_in_order(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = 5 * MS_US, .jitter_us = 20 * MS_US});
    struct node *a = add(&f, "a", "x/+/tele");
    CHECK_OK(bus_subscribe(a->bus, "x/#", 0)); /* overlaps: still once */
    struct node *b = add(&f, "b", "other/#");
    struct node *c = add(&f, "c", NULL);
    CHECK_ERR(send(c, "x/d1/tele", 1, false), ERR_AGAIN);
    run(&f, SECOND_US);
    CHECK_INT(c->ups, 1);
    CHECK_INT(bus_state(c->bus), BUS_UP);
    for (uint32_t i = 1; i <= 1000; i++) {
        CHECK_OK(send(c, "x/d1/tele", i, false));
        run(&f, i % 3 ? 0 : MS_US);
    }
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_INT(a->numbers[i], i + 1);
    }
    CHECK_INT(b->received, 0);
    CHECK_STR(a->topic, "x/d1/tele");
    struct bus_stats stats;
    bus_stats(c->bus, &stats);
    CHECK_INT(stats.published, 1000);
    CHECK_INT(stats.refused_again, 1);
    end(&f);
}

static void retained_messages_come_to_late_subscribers_until_deleted_or_restarted(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 2);
    struct node *a = add(&f, "a", "t/#");
    run(&f, SECOND_US);
    CHECK_OK(send(a, "t/1", 10, true));
    CHECK_OK(send(a, "t/2", 20, true));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 2);
    CHECK_INT(a->retained, 0); /* live ones */
    CHECK_OK(bus_publish(a->bus, slice_str("t/2"), slice_of(NULL, 0), 0, true));
    bus_set_handlers(a->bus, &(struct bus_handlers){.on_state = on_state, .arg = a}); /* the empty one */
    run(&f, SECOND_US);
    struct node *b = add(&f, "b", "t/+");
    run(&f, SECOND_US);
    CHECK_INT(b->received, 1);
    CHECK_INT(b->retained, 1);
    CHECK_INT(b->numbers[0], 10);
    CHECK_OK(bus_subscribe(b->bus, "t/1", 0)); /* a subscription while UP gets them as well */
    run(&f, SECOND_US);
    CHECK_INT(b->retained, 2);
    bus_hub_restart(f.hub, SECOND_US);
    run(&f, 10 * SECOND_US);
    struct node *c = add(&f, "c", "t/+");
    run(&f, SECOND_US);
    CHECK_INT(c->received, 0);
    end(&f);
}

static void a_reset_link_ends_the_session_at_once_and_it_comes_back_with_its_subscriptions(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 3);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = 10 * MS_US});
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    run(&f, SECOND_US);
    CHECK_OK(send(b, "t", 1, false));
    run(&f, 15 * MS_US); /* between hub and a */
    bus_hub_set_link(f.hub, "a", BUS_LINK_DOWN);
    run(&f, 0);
    CHECK_INT(a->downs, 1);
    CHECK_CONTAINS(a->reason, "connection lost");
    CHECK_INT(bus_state(a->bus), BUS_DOWN);
    run(&f, MINUTE_US);
    CHECK_INT(a->received, 0); /* what was under way is gone */
    CHECK_CONTAINS(a->reason, "refused");
    CHECK_INT(a->downs, 2); /* the refusals of a minute are told once */
    CHECK_INT(b->downs, 0);
    bus_hub_set_link(f.hub, "a", BUS_LINK_UP);
    run(&f, 31 * SECOND_US);
    CHECK_INT(a->ups, 2);
    CHECK_OK(send(b, "t", 2, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK_INT(a->numbers[0], 2);
    end(&f);
}

static void a_silent_link_is_noticed_by_the_keep_alive_and_not_before(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 4);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    run(&f, SECOND_US);
    bus_hub_set_link(f.hub, "a", BUS_LINK_SILENT);
    int64_t since_us = loop_world_now_us(f.world);
    CHECK_OK(send(a, "t", 1, false)); /* accepted, vanishes */
    CHECK_OK(send(b, "t", 2, false));
    run(&f, 44 * SECOND_US);
    CHECK_INT(a->downs, 0);
    CHECK_INT(a->received, 0);
    run(&f, 2 * SECOND_US);
    CHECK_INT(a->downs, 1);
    CHECK_INT(a->told_us - since_us, 45 * SECOND_US);
    CHECK_CONTAINS(a->reason, "no answer");
    run(&f, 30 * SECOND_US);
    CHECK_CONTAINS(a->reason, "timed out");
    bus_hub_set_link(f.hub, "*", BUS_LINK_UP);
    run(&f, 45 * SECOND_US);
    CHECK_INT(a->ups, 2);
    CHECK_INT(a->received, 0);
    end(&f);
}

static void a_short_silence_swallows_messages_but_not_the_session(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 5);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    run(&f, SECOND_US);
    bus_hub_set_link(f.hub, "b", BUS_LINK_SILENT);
    static uint8_t large[64 << 10];
    enum err err = OK;
    for (int i = 0; i < 100 && err == OK; i++) {
        err = bus_publish(b->bus, slice_str("t"), slice_of(large, sizeof(large)), 0, false);
    }
    CHECK_ERR(err, ERR_AGAIN); /* a socket would be full by now */
    run(&f, 20 * SECOND_US);
    CHECK_INT(b->writables, 0);
    bus_hub_set_link(f.hub, "b", BUS_LINK_UP);
    run(&f, MINUTE_US);
    CHECK_INT(b->writables, 1);
    CHECK_INT(b->downs, 0);
    CHECK_INT(a->received, 0);
    CHECK_OK(send(b, "t", 7, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    end(&f);
}

static void a_link_may_be_dead_in_one_direction_only(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 15);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", "t");
    run(&f, SECOND_US);
    bus_hub_set_link(f.hub, "a", BUS_LINK_DEAF);
    CHECK_OK(send(a, "t", 1, false)); /* heard by others */
    CHECK_OK(send(b, "t", 2, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 0);
    CHECK_INT(b->received, 2);
    bus_hub_set_link(f.hub, "a", BUS_LINK_MUTE);
    CHECK_OK(send(a, "t", 3, false));
    CHECK_OK(send(b, "t", 4, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK_INT(a->numbers[0], 4);
    CHECK_INT(b->received, 3);
    run(&f, 50 * SECOND_US);
    CHECK_INT(a->downs, 1); /* nobody answers its keep-alive */
    end(&f);
}

static void take_garbage(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct node *n = arg;
    (void)topic;
    (void)retained;
    CHECK_INT(payload.len, sizeof(uint32_t));
    memcpy(&n->numbers[n->received++], payload.ptr, sizeof(uint32_t));
}

static void a_corrupt_message_arrives_as_garbage_of_its_length(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 16);
    struct node *a = add(&f, "a", NULL);
    struct node *b = add(&f, "b", "t");
    bus_set_handlers(b->bus, &(struct bus_handlers){take_garbage, on_state, on_writable, b});
    run(&f, SECOND_US);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = MS_US, .corrupt_ppm = 1000000});
    for (uint32_t i = 0; i < 50; i++) {
        CHECK_OK(send(a, "t", i, false));
    }
    run(&f, SECOND_US);
    CHECK_INT(b->received, 50);
    unsigned intact = 0;
    for (uint32_t i = 0; i < 50; i++) {
        intact += b->numbers[i] == i;
    }
    CHECK_INT(intact, 0);
    end(&f);
}

static void see(void *arg, const char *client_id, struct slice topic, struct slice payload)
{
    char *seen = arg;
    size_t len = strlen(seen);
    (void)snprintf(seen + len, 200 - len, "%s:%.*s:%zu ", client_id, (int)topic.len, (const char *)topic.ptr,
                   payload.len);
}

static void a_watcher_sees_what_is_handed_over_and_what_is_injected_comes_from_nobody(void **state)
{
    (void)state;
    struct fixture f;
    char seen[200] = "";
    begin(&f, 17);
    struct node *a = add(&f, "a", "t");
    run(&f, SECOND_US);
    bus_hub_watch(f.hub, see, seen);
    bus_hub_set_link(f.hub, "a", BUS_LINK_SILENT);
    CHECK_OK(send(a, "t", 1, false)); /* seen, although it vanishes */
    bus_hub_set_link(f.hub, "a", BUS_LINK_UP);
    uint32_t number = 9;
    bus_hub_inject(f.hub, slice_str("t"), slice_of(&number, sizeof(number)));
    run(&f, SECOND_US);
    CHECK_STR(seen, "a:t:4 ");
    CHECK_INT(a->received, 1);
    CHECK_INT(a->numbers[0], 9);
    bus_hub_watch(f.hub, NULL, NULL);
    CHECK_OK(send(a, "t", 2, false));
    CHECK_STR(seen, "a:t:4 ");
    end(&f);
}

static void a_restart_throws_everybody_out_and_wipes_what_was_under_way(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 6);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = 10 * MS_US});
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    struct node *silent = add(&f, "c", "t");
    run(&f, SECOND_US);
    bus_hub_set_link(f.hub, "c", BUS_LINK_SILENT);
    CHECK_OK(send(b, "t", 1, false));
    run(&f, 5 * MS_US);
    bus_hub_restart(f.hub, 3 * SECOND_US);
    CHECK_OK(send(b, "t", 2, false)); /* before the loss is noticed */
    run(&f, 2 * SECOND_US);
    CHECK_INT(a->downs, 2); /* closed, then refused */
    CHECK_INT(b->downs, 2);
    CHECK_ERR(send(b, "t", 3, false), ERR_AGAIN);
    run(&f, 10 * SECOND_US);
    CHECK_INT(a->ups, 2);
    CHECK_INT(b->ups, 2);
    CHECK_INT(a->received, 0);
    CHECK_INT(silent->downs, 0);
    bus_hub_set_link(f.hub, "c", BUS_LINK_UP); /* the hub does not know its session any more */
    run(&f, 0);
    CHECK_INT(silent->downs, 1);
    run(&f, 10 * SECOND_US);
    CHECK_OK(send(b, "t", 4, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK_INT(silent->received, 1);
    end(&f);
}

static void a_second_client_with_the_same_id_takes_the_session_over(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 7);
    struct node *old = add(&f, "same", "t");
    run(&f, SECOND_US);
    struct node *young = add(&f, "same", "t");
    old->free_on_state = true; /* else both go on taking it over from each other, as with a real broker */
    run(&f, SECOND_US);
    CHECK_INT(young->ups, 1);
    CHECK_INT(old->downs, 1);
    CHECK(old->bus == NULL);
    CHECK_CONTAINS(old->reason, "taken over");
    CHECK_OK(send(young, "t", 1, false));
    run(&f, SECOND_US);
    CHECK_INT(young->received, 1);
    CHECK_INT(old->received, 0);
    end(&f);
}

static void loss_and_duplicates_come_at_their_rates(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 8);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    run(&f, SECOND_US);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.loss_ppm = 100000}); /* 0.9 x 0.9 arrive */
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_OK(send(b, "t", i, false));
    }
    run(&f, SECOND_US);
    CHECK(a->received > 1550 && a->received < 1690);
    a->received = 0;
    bus_hub_set_faults(f.hub, &(struct bus_faults){.duplicate_ppm = 100000}); /* 1.1 x 1.1 arrive */
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_OK(send(b, "t", i, false));
    }
    run(&f, SECOND_US);
    CHECK(a->received > 2360 && a->received < 2480);
    for (size_t i = 1; i < a->received; i++) {
        CHECK(a->numbers[i] >= a->numbers[i - 1]);
    }
    end(&f);
}

static size_t inversions(const struct node *n)
{
    size_t count = 0;
    for (size_t i = 1; i < n->received; i++) {
        count += n->numbers[i] < n->numbers[i - 1];
    }
    return count;
}

/* Returns a digest of what a received, in order. */
static uint64_t reordering_run(uint64_t seed, size_t *ret_inversions)
{
    struct fixture f;
    begin(&f, seed);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = 5 * MS_US, .jitter_us = 5 * MS_US, .reorder_ppm = 50000,
                                                   .loss_ppm = 1000, .duplicate_ppm = 1000});
    run(&f, SECOND_US);
    for (uint32_t i = 0; i < 2000; i++) {
        CHECK_OK(send(b, "t", i, false));
        run(&f, MS_US);
    }
    run(&f, SECOND_US);
    uint64_t digest = a->received;
    for (size_t i = 0; i < a->received; i++) {
        digest = mix_u64(digest ^ a->numbers[i]);
    }
    *ret_inversions = inversions(a);
    end(&f);
    return digest;
}

static void reordering_happens_and_a_run_repeats_bit_for_bit(void **state)
{
    (void)state;
    size_t first, second, other;
    uint64_t digest = reordering_run(42, &first);
    CHECK(first > 50 && first < 400);
    CHECK(reordering_run(42, &second) == digest);
    CHECK_INT(second, first);
    CHECK(reordering_run(43, &other) != digest);
}

static void what_was_said_before_leaving_politely_still_arrives(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 9);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = 10 * MS_US});
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", "t");
    run(&f, SECOND_US);
    CHECK_OK(send(b, "t", 5, false));
    bus_free(take(b->bus));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK_INT(b->received, 0);
    end(&f);
}

static void a_bus_may_be_freed_from_its_own_callbacks(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 10);
    struct node *a = add(&f, "a", "t");
    struct node *b = add(&f, "b", NULL);
    run(&f, SECOND_US);
    a->free_on_message = true;
    CHECK_OK(send(b, "t", 1, false));
    CHECK_OK(send(b, "t", 2, false));
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK(a->bus == NULL);
    b->free_on_state = true;
    bus_hub_restart(f.hub, 0);
    run(&f, SECOND_US);
    CHECK(b->bus == NULL);
    CHECK_INT(b->downs, 1);
    end(&f);
}

static void a_hub_that_is_freed_first_leaves_its_clients_down(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 11);
    bus_hub_set_faults(f.hub, &(struct bus_faults){.delay_us = SECOND_US});
    struct node *a = add(&f, "a", "t");
    run(&f, 5 * SECOND_US);
    CHECK_OK(send(a, "t", 1, true)); /* under way while the hub goes */
    CHECK_OK(bus_subscribe(a->bus, "u", 0));
    bus_hub_free(take(f.hub));
    CHECK_ERR(send(a, "t", 2, false), ERR_AGAIN);
    run(&f, MINUTE_US);
    CHECK_INT(a->received, 0);
    end(&f);
}

static void options_out_of_range_are_named(void **state)
{
    (void)state;
    struct loop *loop = NULL;
    CHECK_OK(loop_new(&loop));
    static const struct {
        struct bus_options options;
        const char *says;
    } rows[] = {
        {{.host = "", .port = 1, .client_id = "a"}, "host"},
        {{.host = "h", .port = 0, .client_id = "a"}, "port"},
        {{.host = "h", .port = 1, .client_id = "a/b"}, "client id"},
        {{.host = "h", .port = 1}, "client id"},
        {{.host = "h", .port = 1, .client_id = "a", .keepalive_s = 50000}, "keep-alive"},
        {{.host = "h", .port = 1, .client_id = "a", .backoff_min_us = 2, .backoff_max_us = 1}, "back-off"},
        {{.host = "h", .port = 1, .client_id = "a", .packet_limit_bytes = SIZE_MAX}, "limit"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (int backend = BUS_PAHO; backend <= BUS_NATIVE; backend++) {
            struct fault fault;
            struct bus *bus = NULL;
            CHECK_ERR(bus_new((enum bus_backend)backend, loop, &rows[i].options, &bus, &fault), ERR_RANGE);
            CHECK_CONTAINS(fault.text, rows[i].says);
        }
    }
    struct bus_options good = {.host = "127.0.0.1", .port = 1, .client_id = "a"};
    struct bus *bus = NULL;
    CHECK_OK(bus_new(BUS_NATIVE, loop, &good, &bus, NULL));
    CHECK_ERR(bus_subscribe(bus, "a/#/b", 0), ERR_RANGE);
    CHECK_ERR(bus_publish(bus, slice_str("a/+"), slice_of(NULL, 0), 0, false), ERR_RANGE);
    CHECK_ERR(bus_publish(bus, slice_str("a"), slice_of(NULL, 0), 2, false), ERR_RANGE);
    CHECK_ERR(bus_publish(bus, slice_str("a"), slice_of(NULL, 0), 0, false), ERR_AGAIN);
    bus_free(bus); /* never started */
    bus_free(NULL);
    loop_free(loop);
}

/* Every CONNECT takes a will of its own number. */
static void on_connect(void *arg)
{
    struct node *n = arg;
    uint32_t number = 100 + ++n->connects;
    CHECK_OK(bus_set_will(n->bus, &(struct bus_will){.topic = "gone/w", .payload = slice_of(&number, sizeof(number)),
                                                     .retain = true}));
}

static struct node *add_with_will(struct fixture *f, const char *id)
{
    struct node *n = &f->nodes[f->count++];
    CHECK_OK(loop_new_virtual(f->world, &n->loop));
    CHECK_OK(bus_new_memory(f->hub, n->loop, id, &n->bus));
    bus_set_handlers(n->bus, &(struct bus_handlers){on_message, on_state, on_writable, n});
    bus_on_connect(n->bus, on_connect, n);
    CHECK_OK(bus_start(n->bus));
    return n;
}

static void a_will_is_published_unless_its_client_left_politely(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct node *a = add(&f, "a", "gone/#");
    struct node *w = add_with_will(&f, "w");
    run(&f, SECOND_US);
    bus_hub_set_link(f.hub, "w", BUS_LINK_DOWN); /* 1: reset */
    run(&f, SECOND_US);
    CHECK_INT(a->received, 1);
    CHECK_INT(a->numbers[0], 101);
    CHECK_INT(w->connects, 1); /* refused attempts are no CONNECTs */
    bus_hub_set_link(f.hub, "w", BUS_LINK_UP);
    run(&f, MINUTE_US);
    CHECK_INT(w->connects, 2);
    bus_hub_set_link(f.hub, "w", BUS_LINK_SILENT); /* 2: the keep-alive */
    run(&f, 2 * MINUTE_US);
    CHECK_INT(a->received, 2);
    CHECK_INT(a->numbers[1], 102);
    bus_hub_set_link(f.hub, "w", BUS_LINK_UP);
    run(&f, MINUTE_US);
    struct node *thief = add(&f, "w", NULL); /* 3: taken over */
    run(&f, 10 * MS_US);
    CHECK_INT(a->received, 3);
    CHECK_INT(a->numbers[2], 103);
    bus_free(take(thief->bus));
    run(&f, MINUTE_US);
    struct node *late = add(&f, "late", "gone/#");
    run(&f, SECOND_US);
    CHECK_INT(late->retained, 1); /* it was asked to be kept */
    bus_hub_restart(f.hub, 0); /* a killed hub says nothing for anybody */
    run(&f, MINUTE_US);
    bus_free(take(w->bus)); /* and neither does one whose client left politely */
    run(&f, MINUTE_US);
    CHECK_INT(a->received, 3);
    end(&f);
}

static void a_session_at_rest_leaves_politely_and_comes_back_at_once(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct node *a = add(&f, "a", "gone/#"), *w = add_with_will(&f, "w");
    run(&f, SECOND_US);
    CHECK_INT(w->ups, 1);
    CHECK_OK(bus_rest(w->bus, true));
    CHECK_INT(w->downs, 0);
    run(&f, HOUR_US);
    CHECK_INT(w->downs, 1);
    CHECK_CONTAINS(w->reason, "at rest");
    CHECK_ERR(send(w, "x", 1, false), ERR_AGAIN);
    CHECK_INT(a->received, 0); /* no will */
    CHECK_OK(bus_rest(w->bus, false));
    run(&f, SECOND_US);
    CHECK_INT(w->ups, 2);
    struct node *late = add(&f, "late", NULL);
    CHECK_OK(bus_rest(late->bus, true)); /* before it ever was */
    run(&f, HOUR_US);
    CHECK_INT(late->ups, 0);
    CHECK_OK(bus_rest(late->bus, false));
    run(&f, SECOND_US);
    CHECK_INT(late->ups, 1);
    end(&f);
}

static void a_will_that_cannot_be_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    begin(&f, 1);
    struct node *a = add(&f, "a", NULL);
    static uint8_t large[65536];
    CHECK_ERR(bus_set_will(a->bus, &(struct bus_will){.topic = "a/#"}), ERR_RANGE);
    CHECK_ERR(bus_set_will(a->bus, &(struct bus_will){.topic = "a", .qos = 2}), ERR_RANGE);
    CHECK_ERR(bus_set_will(a->bus, &(struct bus_will){.topic = "a", .payload = slice_of(large, sizeof(large))}), ERR_RANGE);
    CHECK_OK(bus_set_will(a->bus, &(struct bus_will){.topic = "a"}));
    CHECK_OK(bus_set_will(a->bus, NULL));
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_reaches_every_matching_client_once_and_in_order),
        cmocka_unit_test(retained_messages_come_to_late_subscribers_until_deleted_or_restarted),
        cmocka_unit_test(a_reset_link_ends_the_session_at_once_and_it_comes_back_with_its_subscriptions),
        cmocka_unit_test(a_silent_link_is_noticed_by_the_keep_alive_and_not_before),
        cmocka_unit_test(a_short_silence_swallows_messages_but_not_the_session),
        cmocka_unit_test(a_link_may_be_dead_in_one_direction_only),
        cmocka_unit_test(a_corrupt_message_arrives_as_garbage_of_its_length),
        cmocka_unit_test(a_watcher_sees_what_is_handed_over_and_what_is_injected_comes_from_nobody),
        cmocka_unit_test(a_restart_throws_everybody_out_and_wipes_what_was_under_way),
        cmocka_unit_test(a_second_client_with_the_same_id_takes_the_session_over),
        cmocka_unit_test(loss_and_duplicates_come_at_their_rates),
        cmocka_unit_test(reordering_happens_and_a_run_repeats_bit_for_bit),
        cmocka_unit_test(what_was_said_before_leaving_politely_still_arrives),
        cmocka_unit_test(a_bus_may_be_freed_from_its_own_callbacks),
        cmocka_unit_test(a_hub_that_is_freed_first_leaves_its_clients_down),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(a_will_is_published_unless_its_client_left_politely),
        cmocka_unit_test(a_session_at_rest_leaves_politely_and_comes_back_at_once),
        cmocka_unit_test(a_will_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
