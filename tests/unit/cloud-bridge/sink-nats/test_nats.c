/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: marks survive their way through a header, a stream's subjects are judged as the server judges them, and
 * settings that could not work are refused with the key's name.
 */
#include "cloud-bridge/sink-nats/sink_nats_internal.h"
#include "tests/support/check.h"
#include "tests/unit/cloud-bridge/sinks/section.h"

static void a_mark_is_read_as_it_was_written(void **state)
{
    (void)state;
    const struct nats_mark mark = {.bridge = "bridge_1-a",
                                   .epoch = {1, UINT64_MAX},
                                   .position = {WIRE_NUMBER_MAX, 0}};
    struct nats_mark read;
    char text[NATS_MARK_BYTES];
    nats_mark_write(&mark, text);
    CHECK_STR(text, "bridge_1-a 0000000000000001:9223372036854775807 ffffffffffffffff:0");
    CHECK_OK(nats_mark_read(text, &read));
    CHECK_STR(read.bridge, mark.bridge);
    CHECK_INT(memcmp(read.epoch, mark.epoch, sizeof(mark.epoch)), 0);
    CHECK_INT(memcmp(read.position, mark.position, sizeof(mark.position)), 0);
    const char *const wrong[] = {"", "b", "b 1:2", "b 1:2 3:4 5", "b 1:2 3:x", "b 1 2", " 1:2 3:4"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_ERR(nats_mark_read(wrong[i], &read), ERR_MALFORMED);
    }
}

static void raise(struct nats_device *device, uint64_t epoch, uint8_t lane, uint64_t hwm)
{
    const struct sink_mark mark = {.stream = {.hwm = hwm}};
    nats_device_keep(device, epoch, lane, &mark);
}

static uint64_t hwm_of(const struct nats_device *device, uint64_t epoch)
{
    struct sink_mark mark;
    nats_device_mark(device, epoch, &mark);
    return mark.stream.hwm;
}

static void a_devices_streams_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct nats_device device = {.count = 0}, read = {.count = 0};
    char text[NATS_STREAMS_BYTES];
    nats_streams_write(&device, text);
    CHECK_STR(text, "");
    CHECK_OK(nats_streams_read(text, &read));
    CHECK_INT(read.count, 0);
    for (uint64_t epoch = 1; epoch <= NATS_STREAMS; epoch++) {
        raise(&device, UINT64_MAX - epoch, epoch % 2, WIRE_NUMBER_MAX - epoch);
    }
    nats_streams_write(&device, text);
    CHECK_OK(nats_streams_read(text, &read));
    CHECK_INT(read.count, NATS_STREAMS);
    CHECK_INT(memcmp(read.streams, device.streams, sizeof(device.streams)), 0);
    const char *const wrong[] = {"1", "1:2", "1:2:x", "1:0:3,1:0:4", "x:0:1"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_ERR(nats_streams_read(wrong[i], &read), ERR_MALFORMED);
        CHECK_INT(read.count, 0);
    }
}

static void holes_stand_behind_the_number_of_their_stream(void **state)
{
    (void)state;
    struct nats_device device = {.count = 0}, read = {.count = 0};
    struct sink_mark mark = {.stream = {.hwm = WIRE_NUMBER_MAX}};
    char text[NATS_STREAMS_BYTES];
    for (uint64_t epoch = 1; epoch <= NATS_STREAMS; epoch++) {
        for (uint64_t i = SINK_HOLES; i > 0; i--) { /* as long as can be */
            sink_holes_add(&mark.holes, WIRE_NUMBER_MAX - 10 * i, WIRE_NUMBER_MAX - 10 * i + 5);
        }
        nats_device_keep(&device, UINT64_MAX - epoch, 1, &mark);
    }
    nats_streams_write(&device, text);
    CHECK(strlen(text) + 1 < sizeof(text));
    CHECK_OK(nats_streams_read(text, &read));
    CHECK_INT(memcmp(read.streams, device.streams, sizeof(device.streams)), 0);
    CHECK_OK(nats_streams_read("00000000000000aa:1:80:31-50,61-61 00000000000000bb:0:7", &read));
    CHECK_INT(read.count, 2);
    nats_device_mark(&read, 0xaa, &mark);
    CHECK_INT(mark.holes.count, 2);
    CHECK_INT(mark.holes.list[0].last, 50);
    nats_device_mark(&read, 0xbb, &mark);
    CHECK_INT(mark.holes.count, 0);
    const char *const wrong[] = {"aa:1:80:", "aa:1:80:31", "aa:1:80:50-31", "aa:1:80:31-50,40-60", "aa:1:80:31-50:7"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_ERR(nats_streams_read(wrong[i], &read), ERR_MALFORMED);
    }
}

static void the_stream_written_last_stands_first_and_the_oldest_is_forgotten(void **state)
{
    (void)state;
    struct nats_device device = {.count = 0};
    for (uint64_t epoch = 1; epoch <= NATS_STREAMS; epoch++) {
        raise(&device, epoch, 1, 10 * epoch);
    }
    raise(&device, 1, 1, 11);
    CHECK_INT(device.streams[0].epoch, 1);
    CHECK_INT(hwm_of(&device, 1), 11);
    raise(&device, 99, 0, 5);
    CHECK_INT(device.count, NATS_STREAMS);
    CHECK_INT(hwm_of(&device, 99), 5);
    CHECK_INT(hwm_of(&device, 2), 0);
    CHECK_INT(hwm_of(&device, 3), 30);
    CHECK_INT(hwm_of(&device, 1), 11);
}

static void subjects_are_covered_as_the_server_sees_it(void **state)
{
    (void)state;
    CHECK(nats_subject_covers("weir.plant1.*.*", "weir.plant1.*.*"));
    CHECK(nats_subject_covers("weir.>", "weir.plant1.*.*"));
    CHECK(nats_subject_covers(">", "weir.plant1.*.*"));
    CHECK(nats_subject_covers("weir.*.*.*", "weir.plant1.*.*"));
    CHECK(!nats_subject_covers("weir.plant2.*.*", "weir.plant1.*.*"));
    CHECK(!nats_subject_covers("weir.plant1.gw1.*", "weir.plant1.*.*"));
    CHECK(!nats_subject_covers("weir.plant1.*", "weir.plant1.*.*"));
    CHECK(!nats_subject_covers("weir.plant1.*.*.>", "weir.plant1.*.*"));
    CHECK(!nats_subject_covers("weir", "weir.plant1.*.*"));
}

/* ---- settings ---- */
static void settings_that_cannot_work_are_refused_by_their_key(void **state)
{
    (void)state;
    CHECK_STR(PROBLEMS("servers=nats://a:4222,nats://b:4222", "insecure=true"), "");
    CHECK_CONTAINS(PROBLEMS("insecure=true"), "servers");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222"), "ca: needed for TLS");
    CHECK_CONTAINS(PROBLEMS("servers=http://a:4222", "insecure=true"), "scheme is nats://");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "user=x"), "user and password_file belong together");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "stream=a.b"), "stream: a name");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "subject=weir.{gateway}"), "subject: {device} must be");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "subject=weir.>.{device}"), "subject: each token");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "replicas=7"), "replicas");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "payload=xml"), "payload");
    CHECK_CONTAINS(PROBLEMS("servers=a:4222", "insecure=true", "ca=/etc/hostname"), "insecure: certificates are given");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_is_read_as_it_was_written),
        cmocka_unit_test(a_devices_streams_are_read_as_they_were_written),
        cmocka_unit_test(holes_stand_behind_the_number_of_their_stream),
        cmocka_unit_test(the_stream_written_last_stands_first_and_the_oldest_is_forgotten),
        cmocka_unit_test(subjects_are_covered_as_the_server_sees_it),
        cmocka_unit_test(settings_that_cannot_work_are_refused_by_their_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
