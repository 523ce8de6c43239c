/* SPDX-License-Identifier: Apache-2.0 */
/*
 * askcost - what inferences, asks and answers take on a device's link, as their encoders write them: for choosing a
 * threshold before there is a fleet.
 *
 *   asks and answers: whole MQTT messages (QoS 0, 3.1.1) and `overhead` bytes each for what is below
 *   records: by themselves; the heads of the frames in which they travel with others are not counted
 */
#ifndef PROTO_ASKCOST_ASKCOST_H
#define PROTO_ASKCOST_ASKCOST_H

#include "proto/wire/wire.h"

#define ASKCOST_OVERHEAD 74.0 /* TLS record 22, TCP/IP 52 */
/* Names of a usual length for an ask that is only measured. */
void askcost_names(struct wire_ask *ask);
struct askcost {
    double record;        /* of an inference that was not asked about */
    double longer_record; /* by which it is longer when it was */
    double ask, answer;   /* whole messages */
};
/* label: of an answer, at most WIRE_NAME_MAX bytes; ask_bytes: of an encoded ask. ERR_RANGE: a label that no record
 * takes. */
enum err askcost_of(const char *label, uint64_t window_us, size_t ask_bytes, double overhead,
                    struct askcost *ret_cost) MUST_CHECK;

#endif
