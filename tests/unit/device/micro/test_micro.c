/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a device without an OS takes the memory that it is given and no more, says when it has something to do, and
 * closes blocks in time; what its model sees is what its records say. (Windows, asks and bad links:
 * tests/system/cortex_m4, which runs on this machine as well.)
 */
#include "device/micro/micro.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "core/nn/nn.h"
#include "proto/model/model.h"
#include "tests/support/check.h"
#include "tests/support/tiny_model.h"

enum { MEMORY = 64 * 1024, MODEL_MEMORY = 256 * 1024 };
#define WALL_US UINT64_C(1767225600000000)

static const struct sense_channel channels[] = {{"a", "Cel", 0.1}, {"b", "1", 1}};

struct rig {
    struct micro micro;
    uint64_t bits, blocks, describes, events, samples, inferences;
    float score; /* of the last inference */
    struct window_stream stream[OUTLET_LANES];
};

static enum err publish(void *arg, enum topic_channel channel, struct slice payload)
{
    struct rig *rig = arg;
    struct wire_entry entries[OUTLET_ENTRIES + 1];
    struct wire_frame frame;
    CHECK_INT(channel, TOPIC_TELE);
    CHECK_OK(wire_frame_decode(payload, false, &frame, entries, COUNT_OF(entries), NULL));
    struct window_stream *s = &rig->stream[frame.header.lane];
    uint64_t from;
    if (window_receive(s, &frame.header, &from) != WINDOW_ACCEPT) {
        return OK;
    }
    for (size_t i = 0; i < frame.count; i++) {
        struct arena arena;
        Weir__V1__Record *record;
        CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
        CHECK_OK(wire_record_check(entries[i].body, entries[i].first, entries[i].last, NULL));
        CHECK_OK(wire_record_unpack(entries[i].body, &arena, &record));
        rig->describes += record->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE;
        rig->events += record->kind_case == WEIR__V1__RECORD__KIND_EVENT;
        if (record->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
            rig->blocks++;
            rig->samples += record->block->samples;
        }
        if (record->kind_case == WEIR__V1__RECORD__KIND_INFERENCE) {
            rig->inferences++;
            rig->score = record->inference->score;
        }
        arena_deinit(&arena);
    }
    s->pending = s->hwm = frame.header.last;
    return OK;
}

static uint64_t random_bits(void *arg)
{
    struct rig *rig = arg;
    return rig->bits = mix_u64(rig->bits) | 1;
}

static struct micro_options options_of(void)
{
    return (struct micro_options){.site = "plant",
                                  .gateway = "gw",
                                  .device = "small-1",
                                  .software = "test",
                                  .source = "test",
                                  .channels = channels,
                                  .channel_count = 2,
                                  .samples_per_record = 8,
                                  .describe_every = 100,
                                  .period_us = SECOND_US,
                                  .max_age_us = 3 * SECOND_US + MS_US,
                                  .bulk_bytes = 8192,
                                  .alarm_bytes = 8192,
                                  .held_bytes = 512,
                                  .frame_bytes = 1024};
}

static enum err start(struct rig *rig, const struct micro_options *options, void *memory, size_t len,
                      struct fault *fault)
{
    const struct micro_link link = {.publish = publish, .random = random_bits, .arg = rig};
    return micro_init(&rig->micro, options, &link, SECOND_US, WALL_US, memory, len, fault);
}

static void acknowledge(struct rig *rig)
{
    for (uint8_t lane = 0; lane < OUTLET_LANES; lane++) {
        if (rig->stream[lane].hwm == 0) {
            continue; /* it has not heard of the lane */
        }
        BUFFER(bytes, 256);
        wire_ack_encode(&(struct wire_ack){.epoch = rig->micro.outlet.lanes[lane].epoch,
                                           .boot = rig->micro.outlet.boot,
                                           .lane = lane,
                                           .hwm = rig->stream[lane].hwm},
                        &bytes);
        micro_received(&rig->micro, TOPIC_ACK, buffer_slice(&bytes));
    }
}

static void a_block_goes_when_it_is_full_and_when_it_is_old(void **state)
{
    (void)state;
    struct rig rig = {.bits = 1};
    struct fault fault;
    const struct micro_options options = options_of();
    void *memory = aligned_alloc(64, MEMORY);
    CHECK_OK(start(&rig, &options, memory, MEMORY, &fault));
    micro_link_is(&rig.micro, true);
    int64_t now_us = 2 * SECOND_US;
    for (int i = 0; i < 3; i++, now_us += SECOND_US) {
        CHECK_OK(micro_sample(&rig.micro, (double[]){20 + i, NAN}, now_us, WALL_US + (uint64_t)now_us, false));
    }
    acknowledge(&rig); /* the description: nothing else is due */
    CHECK_INT(rig.blocks, 0);
    CHECK_INT(micro_due_us(&rig.micro), 2 * SECOND_US + options.max_age_us);
    micro_pass(&rig.micro, micro_due_us(&rig.micro), WALL_US);
    CHECK_INT(rig.blocks, 1);
    CHECK_INT(rig.samples, 3);
    acknowledge(&rig);
    CHECK(micro_drained(&rig.micro));
    CHECK_INT(micro_due_us(&rig.micro), 0);
    const struct compose_event event = {.severity = WEIR__V1__SEVERITY__ALARM, .id = "hot", .value = 3};
    CHECK_OK(micro_event(&rig.micro, &event));
    CHECK_INT(rig.events, 1);
    CHECK_INT(rig.describes, 2); /* one for each lane */
    free(memory);
}

static void what_comes_in_that_is_no_answer_is_counted(void **state)
{
    (void)state;
    struct rig rig = {.bits = 1};
    struct fault fault;
    const struct micro_options options = options_of();
    void *memory = aligned_alloc(64, MEMORY);
    CHECK_OK(start(&rig, &options, memory, MEMORY, &fault));
    micro_received(&rig.micro, TOPIC_ACK, slice_str("rubbish"));
    micro_received(&rig.micro, TOPIC_ANSWER, slice_str("rubbish"));
    micro_received(&rig.micro, TOPIC_CMD, slice_str(""));
    CHECK_INT(rig.micro.outlet.stats.strays, 3);
    free(memory);
}

static void memory_is_enough_or_the_start_says_how_much_is_needed(void **state)
{
    (void)state;
    struct rig rig = {.bits = 1};
    struct fault fault;
    const struct micro_options options = options_of();
    void *memory = aligned_alloc(64, MEMORY);
    CHECK_OK(start(&rig, &options, memory, MEMORY, &fault));
    size_t needed = rig.micro.memory_bytes;
    void *exact = aligned_alloc(64, needed);
    CHECK_ERR(start(&rig, &options, exact, needed - 1, &fault), ERR_FULL);
    CHECK_CONTAINS(fault.text, "are needed");
    CHECK_OK(start(&rig, &options, exact, needed, &fault));
    micro_link_is(&rig.micro, true);
    for (int i = 0; i < 3000; i++) { /* the queue fills up and turns over: nothing is acknowledged */
        int64_t now_us = (2 + i) * SECOND_US;
        CHECK_OK(micro_sample(&rig.micro, (double[]){sin(i), i}, now_us, WALL_US + (uint64_t)now_us, true));
    }
    CHECK(rig.micro.outlet.stats.dropped > 0);
    free(exact);
    free(memory);
}

static void options_that_cannot_work_are_told(void **state)
{
    (void)state;
    struct rig rig = {.bits = 1};
    struct fault fault;
    uint8_t *memory = aligned_alloc(64, MEMORY);
    struct micro_options options = options_of();
    CHECK_ERR(start(&rig, &options, memory + 8, MEMORY - 64, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "aligned");
    options.device = "no/identity";
    CHECK_ERR(start(&rig, &options, memory, MEMORY, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "no/identity");
    options = options_of();
    options.bulk_bytes = 512;
    CHECK_ERR(start(&rig, &options, memory, MEMORY, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "too small");
    options = options_of();
    options.channel_count = 0;
    CHECK_ERR(start(&rig, &options, memory, MEMORY, &fault), ERR_RANGE);
    free(memory);
}

/* Of a window of four samples of that value in channel b, whose step is 1. */
static float score_of(const struct model_info *info, struct slice network, double b)
{
    struct rig rig = {.bits = 1};
    struct fault fault;
    const struct infer_model model = {.info = info, .network = network, .kernels = "portable"};
    const struct infer_options infer = {.report = INFER_ALL, .ask = INFER_NEVER};
    struct micro_options options = options_of();
    options.model = &model;
    options.infer = &infer;
    void *memory = aligned_alloc(64, MODEL_MEMORY);
    CHECK_OK(start(&rig, &options, memory, MODEL_MEMORY, &fault));
    micro_link_is(&rig.micro, true);
    for (int64_t now_us = 2 * SECOND_US; now_us < 6 * SECOND_US; now_us += SECOND_US) {
        CHECK_OK(micro_sample(&rig.micro, (double[]){0, b}, now_us, WALL_US + (uint64_t)now_us, true));
        acknowledge(&rig);
    }
    micro_end(&rig.micro);
    acknowledge(&rig);
    CHECK_INT(rig.inferences, 1);
    CHECK(micro_drained(&rig.micro));
    free(memory);
    return rig.score;
}

static void the_model_sees_what_the_record_says(void **state)
{
    static _Alignas(NN_ALIGN) uint8_t network[8192];
    (void)state;
    char dir[] = "/tmp/weir-micro-XXXXXX", path[64];
    BUFFER(problems, 1024);
    CLEANUP(model_freep) struct model *model = NULL;
    CHECK(mkdtemp(dir) != NULL);
    CHECK(tiny_model_write(dir, "tiny", "model: tiny\nchannels: [a, b]\nrate: 1\nwindow: 4\n", "a", "b"));
    snprintf(path, sizeof(path), "%s/tiny.yaml", dir);
    CHECK_OK(model_load(path, &model, &problems));
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t len = fread(network, 1, sizeof(network), file);
    fclose(file);
    (void)unlink(path);
    (void)rmdir(dir);
    const float six = score_of(model_info(model), slice_of(network, len), 6);
    CHECK(score_of(model_info(model), slice_of(network, len), 6.4) == six);
    CHECK(score_of(model_info(model), slice_of(network, len), 7) > six);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_goes_when_it_is_full_and_when_it_is_old),
        cmocka_unit_test(what_comes_in_that_is_no_answer_is_counted),
        cmocka_unit_test(memory_is_enough_or_the_start_says_how_much_is_needed),
        cmocka_unit_test(options_that_cannot_work_are_told),
        cmocka_unit_test(the_model_sees_what_the_record_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
