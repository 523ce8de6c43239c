/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tuning - a device's model and a gateway's over labelled, recorded data: what each answers, what asking costs, and the
 * temperature and threshold that follow.
 *
 *   data --windows.h--> device's row --its network--> output, kept ------------------> temperature -> confidence \
 *             '-> ask, encoded and decoded as over the link --gateway's network--> class, by its name ----------> cases
 *   cases --core/cascade--> curve --goal--> threshold
 */
#ifndef CLOUD_BRIDGE_CONSOLE_TUNING_H
#define CLOUD_BRIDGE_CONSOLE_TUNING_H

#include "cloud-bridge/console/explain.h"
#include "cloud-bridge/console/windows.h"
#include "core/cascade/cascade.h"
#include "core/loop/loop.h"

enum tuning_ask { TUNING_FEATURES, TUNING_WINDOW, TUNING_SMALLER };
enum { TUNING_BINS = 15, TUNING_FEW = 20, TUNING_OUTPUTS_MAX = 200 * 1000 * 1000 };
struct tuning_options {
    const char *data, *device, *gateway, *label_column;
    enum tuning_ask ask;
    double rtt_us, overhead;
    struct cascade_goal goal;
};
struct tuning {
    struct tuning_options options;
    struct answerer device, gateway;      /* owned */
    struct loop *loop;                    /* owned; its clock alone */
    uint8_t class_map[MODEL_CLASSES_MAX]; /* gateway's class -> device's of that name */
    bool asks_window;
    float *values, *sent; /* owned; of the ask in hand: its values, and the gateway's input */
    const char *form;     /* what the asks carried, in words */
    bool forms_differ;    /* not all the same */

    struct windows windows;
    size_t count, cap;
    float *outputs;             /* owned; of the device's network, [count][classes] */
    uint8_t *labels;            /* owned; [count] */
    struct cascade_case *cases; /* owned; [count]; in the order of the windows; at the end by confidence */
    uint64_t per_class[MODEL_CLASSES_MAX];
    uint64_t mixed, unlabelled; /* windows that are left out */
    uint64_t ask_bytes;         /* of all */
    uint64_t gateway_right;     /* its answers, sure or not, to asks */
    uint64_t gateway_unsure;    /* by its own unsure_below: then the device's answer stands */
    uint64_t device_us, gateway_us;
    bool has_whole;
    uint64_t whole_right; /* of the gateway on its own features, without an ask between */

    double temperature, error_plain, error_before, error_after; /* at temperature 1, as it was, and now */
    struct cascade_cost cost;
    struct cascade_point *points; /* owned */
    size_t point_count;
    struct cascade_point device_alone, before; /* before: as the description was */
    bool found;                                /* a threshold keeps the goal */
    struct cascade_point chosen;
};
void tuning_deinit(struct tuning *t); /* harmless when zeroed */
/* Opens the models and holds them against one another. ERR_RANGE, ERR_UNSUPPORTED: they do not fit; as answerer_open.
 */
enum err tuning_open(struct tuning *t, const struct tuning_options *options, struct fault *reterr) MUST_CHECK;
/* Runs both over the data, then temperature, curve and choice. As windows_each; ERR_RANGE: no window is left, or the
 * network gives what is no number. */
enum err tuning_run(struct tuning *t, struct fault *reterr) MUST_CHECK;
/* The device's model as a file says it, over the same data: asks and right answers must be the chosen point's.
 * ERR_CONFLICT: they are not; else as windows_each and answerer_open. */
enum err tuning_verify(const struct tuning *t, const char *path, struct fault *reterr) MUST_CHECK;

#endif
