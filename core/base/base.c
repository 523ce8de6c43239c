/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base - names of error classes, faults told to people, identities, UTF-8.
 *
 * The wire and the stores are little-endian and are read by copying, so a host of the other order is refused here.
 */
#include "core/base/base.h"

#include <stdarg.h>
#include <stdio.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "cursor and buffer copy little-endian integers as they are");
_Static_assert(sizeof(double) == 8 && sizeof(size_t) >= 4, "doubles are IEEE 754 binary64");

const char *err_name(enum err err)
{
    switch (err) {
    case OK: return "ok";
    case ERR_NOMEM: return "nomem";
    case ERR_MALFORMED: return "malformed";
    case ERR_RANGE: return "range";
    case ERR_AGAIN: return "again";
    case ERR_FULL: return "full";
    case ERR_NOT_FOUND: return "not_found";
    case ERR_DENIED: return "denied";
    case ERR_TIMEOUT: return "timeout";
    case ERR_CONFLICT: return "conflict";
    case ERR_IO: return "io";
    case ERR_UNSUPPORTED: return "unsupported";
    }
    return "unknown";
}

enum err fault_set(struct fault *reterr, enum err code, const char *fmt, ...)
{
    if (reterr == NULL) {
        return code;
    }
    /* The arguments may point into reterr->text (a caller that adds its place to a fault): format aside first. */
    char text[sizeof(reterr->text)];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }
    va_end(args);
    reterr->code = code;
    memcpy(reterr->text, text, sizeof(text));
    return code;
}

size_t utf8_length(struct slice s)
{
    uint8_t first = s.len > 0 ? s.ptr[0] : 0x80;
    if (first < 0x80) {
        return 1;
    }
    size_t len = first >= 0xc2 && first <= 0xdf   ? 2
                 : first >= 0xe0 && first <= 0xef ? 3
                 : first >= 0xf0 && first <= 0xf4 ? 4
                                                  : 0;
    if (len == 0 || len > s.len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s.ptr[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (first == 0xe0 && s.ptr[1] < 0xa0) || (first == 0xf0 && s.ptr[1] < 0x90);
    bool surrogate = first == 0xed && s.ptr[1] > 0x9f;
    bool beyond = first == 0xf4 && s.ptr[1] > 0x8f; /* above U+10FFFF */
    return overlong || surrogate || beyond ? 0 : len;
}

bool id_valid(struct slice id)
{
    if (id.len == 0 || id.len > ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        uint8_t c = id.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}
