/* SPDX-License-Identifier: Apache-2.0 */
/* judge - the sink of a virtual world: keeps what was committed, as ranges per stream, and checks every payload. */
#ifndef SIMULATORS_WORLD_WORLD_INTERNAL_H
#define SIMULATORS_WORLD_WORLD_INTERNAL_H

#include "cloud-bridge/sinks/sinks.h"
#include "core/base/buffer.h"
#include "simulators/world/world.h"

struct judge;

enum err judge_new(bool without_mark, struct judge **ret_judge) MUST_CHECK;
void judge_free(struct judge *judge);
/* The bridge's handle on it; closing the handle is the bridge's death, the judge lives on. now() gives the time. */
struct sink judge_sink(struct judge *judge, struct loop_world *world);
/* A device's store holds first..top of this stream durably (monotonic per stream). */
void judge_durable(struct judge *judge, const char *device, uint64_t epoch, uint8_t lane, uint64_t top);
/* After settling: everything durable must be accounted for. Streams of wiped disks are excused (declare them gone). */
void judge_excuse(struct judge *judge, const char *device, uint64_t epoch);
void judge_report(struct judge *judge, struct world_report *ret_report, struct buffer *complaints);

#endif
