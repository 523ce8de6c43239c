/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edit - sets single values in the text of a configuration and leaves every other byte as it stands: comments, order,
 * the way of writing.
 */
#ifndef CORE_OPTIONS_EDIT_H
#define CORE_OPTIONS_EDIT_H

#include "core/base/base.h"
#include "core/base/buffer.h"

/* text: YAML in UTF-8 whose top level is a mapping with at least one value on its line. The value of `key` on that top
 * level becomes `value` (plain, without quotes); a key that is not there gets a line of its own behind the last such
 * value (in a flow mapping: stands first). Appends the new text to out. ERR_MALFORMED: no such YAML; ERR_UNSUPPORTED:
 * the key's value is no plain or quoted text, has an anchor, alias or tag, or stands there twice; UTF-16. ERR_NOMEM,
 * ERR_FULL. */
enum err options_edit(struct slice text, const char *key, const char *value, struct buffer *out,
                      struct fault *reterr) MUST_CHECK;

#endif
