/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: Ack and Forward by hand are byte for byte what protobuf-c writes and reads; what breaks a limit is refused. */
#include "proto/wire/wire.h"

#include "tests/support/check.h"

static uint8_t packed[WIRE_RECORD_MAX + 1024];

static uint64_t some_number(uint64_t seed)
{
    return mix_u64(seed) >> (1 + mix_u64(seed + 1) % 63);
}

static void random_acks_are_byte_for_byte_those_of_the_library(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        struct wire_ack ack = {.epoch = mix_u64(seed) | 1, .hwm = some_number(seed), .boot = (uint32_t)seed % 7,
                               .lane = (uint8_t)(seed % 5), .verdict = (enum window_verdict)(seed % 9)};
        struct wire_ack again;
        char ids[PATH_IDS_MAX][24];
        ack.path_hash = (uint32_t)seed % 3 * 1000;
        ack.path_count = seed % 4 == 0 ? (unsigned)(seed / 4 % (PATH_IDS_MAX + 1)) : 0;
        for (unsigned i = 0; i < ack.path_count; i++) {
            snprintf(ids[i], sizeof(ids[i]), "site/gw-%u", i);
            ack.path[i] = slice_str(ids[i]);
        }
        BUFFER(out, 1000);
        wire_ack_encode(&ack, &out);
        CHECK_OK(buffer_err(&out));
        CHECK_OK(wire_ack_decode(buffer_slice(&out), &again));
        CHECK(again.epoch == ack.epoch && again.hwm == ack.hwm && again.boot == ack.boot);
        CHECK(again.lane == ack.lane && again.verdict == ack.verdict);
        CHECK(again.path_hash == ack.path_hash && again.path_count == ack.path_count);
        Weir__V1__Ack *a = weir__v1__ack__unpack(NULL, out.len, out.ptr);
        CHECK(a != NULL && a->epoch == ack.epoch && a->hwm == ack.hwm && a->boot == ack.boot);
        CHECK(a->lane == ack.lane && (int)a->verdict == (int)ack.verdict && a->version == WIRE_VERSION);
        CHECK_INT(weir__v1__ack__pack(a, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__ack__free_unpacked(a, NULL);
    }
}

static enum err decode_ack(const Weir__V1__Ack *a)
{
    struct wire_ack ack;
    return wire_ack_decode(slice_of(packed, weir__v1__ack__pack(a, packed)), &ack);
}

static void an_ack_that_breaks_a_limit_is_refused(void **state)
{
    (void)state;
    Weir__V1__Ack good = WEIR__V1__ACK__INIT;
    good.version = WIRE_VERSION;
    good.epoch = 1;
    Weir__V1__Ack a = good;
    CHECK_OK(decode_ack(&a));
    a.version = 2;
    CHECK_ERR(decode_ack(&a), ERR_UNSUPPORTED);
    a = good, a.epoch = 0;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    a = good, a.hwm = WIRE_NUMBER_MAX;
    CHECK_OK(decode_ack(&a));
    a.hwm = WIRE_NUMBER_MAX + 1;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    a = good, a.verdict = (Weir__V1__Verdict)9;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    a = good, a.lane = 256;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    static char gateway[] = "site/gw", no_site[] = "no-site";
    char *ids[PATH_IDS_MAX + 1] = {0};
    for (unsigned i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = gateway;
    }
    a = good, a.path = ids, a.n_path = PATH_IDS_MAX;
    CHECK_OK(decode_ack(&a));
    a.n_path = PATH_IDS_MAX + 1;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    a.n_path = 2, ids[1] = no_site;
    CHECK_ERR(decode_ack(&a), ERR_RANGE);
    struct wire_ack ack;
    CHECK_ERR(wire_ack_decode(slice_of("\x08", 1), &ack), ERR_MALFORMED);
    CHECK_ERR(wire_ack_decode(slice_of("\x0a\x00", 2), &ack), ERR_MALFORMED);
    CHECK_ERR(wire_ack_decode(slice_of(NULL, 0), &ack), ERR_UNSUPPORTED);
}

static void some_forward(uint64_t seed, struct wire_forward *fw, uint8_t *body)
{
    *fw = (struct wire_forward){.epoch = mix_u64(seed) | 1, .lane = (uint8_t)(seed % 3)};
    fw->received_us = some_number(seed);
    snprintf(fw->device, sizeof(fw->device), "device-%llu", (unsigned long long)mix_u64(seed) % 100000);
    snprintf(fw->gateway, sizeof(fw->gateway), "gw_%llu", (unsigned long long)seed % 10);
    fw->first = some_number(seed * 3) / 2 + 1;
    fw->last = fw->first + some_number(seed * 5) / 2;
    fw->top = seed % 3 ? fw->last : 0;
    size_t len = seed % 4 ? mix_u64(seed) % 700 : 0;
    for (size_t i = 0; i < len; i++) {
        body[i] = (uint8_t)mix_u64(seed + i);
    }
    fw->record = slice_of(body, len);
}

static void random_forwards_are_byte_for_byte_those_of_the_library(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        uint8_t body[700];
        struct wire_forward fw, again;
        some_forward(seed, &fw, body);
        BUFFER(out, 2000);
        CHECK_OK(wire_forward_encode(&fw, &out));
        CHECK_OK(wire_forward_decode(buffer_slice(&out), &again));
        CHECK_STR(again.device, fw.device);
        CHECK_STR(again.gateway, fw.gateway);
        CHECK(slice_equal(again.record, fw.record) && again.epoch == fw.epoch && again.lane == fw.lane);
        CHECK(again.first == fw.first && again.last == fw.last && again.top == fw.top);
        CHECK(again.received_us == fw.received_us);
        Weir__V1__Forward *f = weir__v1__forward__unpack(NULL, out.len, out.ptr);
        CHECK(f != NULL && f->first == fw.first && f->last == fw.last && f->epoch == fw.epoch);
        CHECK(f->top == fw.top && f->received_us == fw.received_us && f->lane == fw.lane);
        CHECK_STR(f->device, fw.device);
        CHECK_STR(f->gateway, fw.gateway);
        CHECK(slice_equal(slice_of(f->record.data, f->record.len), fw.record));
        CHECK_INT(weir__v1__forward__pack(f, packed), out.len);
        CHECK(memcmp(packed, out.ptr, out.len) == 0);
        weir__v1__forward__free_unpacked(f, NULL);
    }
}

/* Packs with the library, since our encoder refuses. */
static enum err decode_forward(const struct wire_forward *fw, uint64_t lane)
{
    Weir__V1__Forward f = WEIR__V1__FORWARD__INIT;
    char device[ID_MAX + 1], gateway[ID_MAX + 1];
    strcpy(device, fw->device);
    strcpy(gateway, fw->gateway);
    f.device = device;
    f.gateway = gateway;
    f.epoch = fw->epoch;
    f.first = fw->first;
    f.last = fw->last;
    f.top = fw->top;
    f.received_us = fw->received_us;
    f.lane = (uint32_t)lane;
    struct wire_forward again;
    return wire_forward_decode(slice_of(packed, weir__v1__forward__pack(&f, packed)), &again);
}

#define REFUSED(spoil)                                                                                                 \
    do {                                                                                                               \
        struct wire_forward fw = {.device = "d", .gateway = "g", .epoch = 1, .first = 5, .last = 9, .top = 9};         \
        BUFFER(out, 1000);                                                                                             \
        CHECK_OK(decode_forward(&fw, 0));                                                                              \
        CHECK_OK(wire_forward_encode(&fw, &out));                                                                      \
        spoil;                                                                                                         \
        CHECK_ERR(decode_forward(&fw, 0), ERR_RANGE);                                                                  \
        CHECK_ERR(wire_forward_encode(&fw, &out), ERR_RANGE);                                                          \
    } while (0)

static void a_forward_that_breaks_a_limit_is_refused_by_both_sides(void **state)
{
    (void)state;
    REFUSED(fw.device[0] = '\0');
    REFUSED(fw.device[0] = '/');
    REFUSED(fw.gateway[0] = '+');
    REFUSED(fw.epoch = 0);
    REFUSED(fw.first = 0);
    REFUSED(fw.last = 4);
    REFUSED(fw.last = UINT64_MAX);
    REFUSED(fw.last = WIRE_NUMBER_MAX + 1);
    REFUSED(fw.top = UINT64_MAX);
    REFUSED(fw.received_us = UINT64_MAX);
    struct wire_forward fw = {.device = "d", .gateway = "g", .epoch = 1, .first = 5, .last = 9};
    CHECK_ERR(decode_forward(&fw, 256), ERR_RANGE);
    CHECK_ERR(wire_forward_decode(slice_of("\x0a\x05" "d", 3), &fw), ERR_MALFORMED);
}

static void a_record_beyond_the_limit_is_refused(void **state)
{
    (void)state;
    static uint8_t body[WIRE_RECORD_MAX + 1];
    struct wire_forward fw = {.device = "d", .gateway = "g", .epoch = 1, .first = 5, .last = 9}, again;
    BUFFER(out, WIRE_RECORD_MAX + 1024);
    fw.record = slice_of(body, WIRE_RECORD_MAX);
    CHECK_OK(wire_forward_encode(&fw, &out));
    CHECK_OK(wire_forward_decode(buffer_slice(&out), &again));
    fw.record.len++;
    CHECK_ERR(wire_forward_encode(&fw, &out), ERR_RANGE);
}

static void unknown_fields_of_a_forward_are_skipped(void **state)
{
    (void)state;
    struct wire_forward fw = {.device = "d", .gateway = "g", .epoch = 1, .first = 5, .last = 9}, again;
    BUFFER(out, 1000);
    CHECK_OK(wire_forward_encode(&fw, &out));
    buffer_put(&out, "\x98\x06\xff\x01\xa2\x06\x03xyz\xad\x06" "abcd\xb1\x06" "abcdefgh", 26);
    CHECK_OK(wire_forward_decode(buffer_slice(&out), &again));
    CHECK_INT(again.last, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_acks_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(an_ack_that_breaks_a_limit_is_refused),
        cmocka_unit_test(random_forwards_are_byte_for_byte_those_of_the_library),
        cmocka_unit_test(a_forward_that_breaks_a_limit_is_refused_by_both_sides),
        cmocka_unit_test(a_record_beyond_the_limit_is_refused),
        cmocka_unit_test(unknown_fields_of_a_forward_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
