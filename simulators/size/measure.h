/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure - figures of this machine and this configuration in place of the presets.
 *
 *   records   the real agent with the real driver and encoder, in virtual time    -> bytes of a record
 *   store     the real spool in a real LMDB store in a temporary folder           -> pages, flush, bytes written
 *   programs  a real mosquitto and weir-gateway, real agents as its devices       -> processor per frame and record
 *
 * Each writes what it found over the constants (with its source), and a line of words for the reader into notes. What
 * is not at hand is skipped and said; ERR_* only when something that is at hand failed.
 */
#ifndef SIMULATORS_SIZE_MEASURE_H
#define SIMULATORS_SIZE_MEASURE_H

#include "core/base/buffer.h"
#include "simulators/size/settings.h"

/* Sets in->record_bytes unless the user has given it. */
enum err measure_records(const struct size_settings *s, struct size_input *in, struct buffer *notes,
                         struct fault *reterr) MUST_CHECK;
/* block_bytes: of the records that are stored. */
enum err measure_store(const struct size_settings *s, double block_bytes, struct size_constants *c,
                       struct buffer *notes, struct fault *reterr) MUST_CHECK;
enum err measure_programs(const struct size_settings *s, struct size_constants *c, struct buffer *notes,
                          struct fault *reterr) MUST_CHECK;

/* Writes a measured value over a constant. */
void measure_set(struct size_constants *c, enum size_constant which, double value, const char *source);
/* Removes the folder with what is in it (one level of folders below it). Best effort. */
void measure_clear(const char *folder);

#endif
