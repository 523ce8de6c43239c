/* SPDX-License-Identifier: Apache-2.0 */
/*
 * facts - what the programs have said to each other, from the bytes on their sockets: what must not be untrue after a
 * cut.
 *
 * Two sides can promise about a stream (sender, epoch):
 *   SENT    the sender has put its records up to a number into frames: it must have them, or be acknowledged
 *   ACKED   the receiver has said that it holds everything up to a number
 * A promise counts from the beginning of the call that put its last byte on the socket.
 */
#ifndef TESTS_SUPPORT_POWER_CUT_FACTS_H
#define TESTS_SUPPORT_POWER_CUT_FACTS_H

#include "tests/support/power_cut/recorded.h"

enum promise { SENT, ACKED, PROMISES };
struct facts;

struct facts *facts_new(const struct recording *recording);
void facts_free(struct facts *facts);
/* Highest number promised before stamp; 0 = none. */
uint64_t facts_promised(const struct facts *facts, enum promise promise, const char *sender, uint64_t epoch,
                        uint64_t stamp);
/* Every stream that anything was said about. */
void facts_foreach(const struct facts *facts, void (*fn)(void *arg, const char *sender, uint64_t epoch), void *arg);
/* Stamps of all promises, rising. */
const uint64_t *facts_stamps(const struct facts *facts, size_t *ret_count);
/* CRC-32C of the record with this number as it was first sent. False when it was not sent. */
bool facts_record(const struct facts *facts, const char *sender, uint64_t epoch, uint64_t number, uint32_t *ret_crc);
/* Frames whose records differ from what was sent before under the same number. */
unsigned facts_changed(const struct facts *facts);

#endif
