/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - streaming writer into a buffer. Commas are placed by the writer; strings are escaped (RFC 8259 section 7;
 * invalid UTF-8 bytes are written as U+FFFD); NaN and infinities become null.
 */
#ifndef CORE_BASE_JSON_H
#define CORE_BASE_JSON_H

#include "core/base/buffer.h"

struct json {
    struct buffer *out; /* borrowed; its sticky error is the writer's */
    bool need_comma;
};

void json_init(struct json *j, struct buffer *out);
/* key NULL inside arrays and at the top. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_str(struct json *j, const char *key, const char *value); /* NULL writes null */
void json_slice(struct json *j, const char *key, struct slice value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_f64(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
/* 16 hexadecimal digits as a string: epochs do not fit a double. */
void json_hex(struct json *j, const char *key, uint64_t value);

#endif
