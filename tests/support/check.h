/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - assertions over cmocka that print the expression, the value and what was expected:
 *   test_spool.c:31: spool_next(s) is 4, expected 3
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define CHECK(expr)                                                                                                    \
    do {                                                                                                               \
        if (!(expr)) {                                                                                                 \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #expr);                                   \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_INT(expr, expected)                                                                                      \
    do {                                                                                                               \
        long long check_is_ = (long long)(expr), check_want_ = (long long)(expected);                                  \
        if (check_is_ != check_want_) {                                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #expr, check_is_, check_want_);  \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_OK(expr)                                                                                                 \
    do {                                                                                                               \
        enum err check_err_ = (expr);                                                                                  \
        if (check_err_ != OK) {                                                                                        \
            fprintf(stderr, "%s:%d: %s is %s, expected ok\n", __FILE__, __LINE__, #expr, err_name(check_err_));        \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_ERR(expr, expected)                                                                                      \
    do {                                                                                                               \
        enum err check_err_ = (expr);                                                                                  \
        if (check_err_ != (expected)) {                                                                                \
            fprintf(stderr, "%s:%d: %s is %s, expected %s\n", __FILE__, __LINE__, #expr, err_name(check_err_),         \
                    err_name(expected));                                                                               \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_STR(expr, expected)                                                                                      \
    do {                                                                                                               \
        const char *check_is_ = (expr), *check_want_ = (expected);                                                     \
        if (check_is_ == NULL || strcmp(check_is_, check_want_) != 0) {                                                \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #expr,                       \
                    check_is_ ? check_is_ : "(null)", check_want_);                                                    \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_CONTAINS(expr, part)                                                                                     \
    do {                                                                                                               \
        const char *check_is_ = (expr);                                                                                \
        if (check_is_ == NULL || strstr(check_is_, (part)) == NULL) {                                                  \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected it to contain \"%s\"\n", __FILE__, __LINE__, #expr,         \
                    check_is_ ? check_is_ : "(null)", (part));                                                         \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

#endif
