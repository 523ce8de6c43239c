/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny_model - a model of two inputs and three classes whose answers can be worked out by hand, for tests.
 *
 *   logits: normal 4, hot = mean of the window's a, wet = mean of its b; int8, inputs in steps of 0.1 up to +-12.7
 */
#ifndef TESTS_SUPPORT_TINY_MODEL_H
#define TESTS_SUPPORT_TINY_MODEL_H

/* Writes DIR/NAME.yaml and DIR/tiny.tflite. head: lines of the description beside network, features and classes; it
 * needs model, channels [.., ..] (a and b), window. False: it cannot be written. */
_Bool tiny_model_write(const char *dir, const char *name, const char *head, const char *a, const char *b);

#endif
