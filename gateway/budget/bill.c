/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/cursor.h"
#include "gateway/budget/budget.h"
#include "proto/schema/weir.pb-c.h"

const char *bill_purpose_name(enum bill_purpose purpose)
{
    static const char *const names[BILL_PURPOSES] = {
        [BILL_ALARMS] = "alarms",   [BILL_LIVE] = "live",         [BILL_CURATED] = "curated",
        [BILL_WINDOWS] = "windows", [BILL_CAPTURES] = "captures", [BILL_DECLARATIONS] = "declarations",
        [BILL_REPEATS] = "repeats", [BILL_PROTOCOL] = "protocol", [BILL_LINK] = "link",
    };
    return names[purpose];
}

void bill_add(struct bill *bill, enum bill_purpose purpose, uint64_t records, uint64_t bytes)
{
    for (unsigned i = 0; i < BILL_SPANS; i++) {
        bill->line[i][purpose].records += records;
        bill->line[i][purpose].bytes += bytes;
    }
}

void bill_date(struct bill *bill, uint32_t date)
{
    if (date == bill->date) {
        return;
    }
    if (bill->date != 0) {
        memset(bill->line[BILL_TODAY], 0, sizeof(bill->line[BILL_TODAY]));
    }
    if (bill->date != 0 && bill->date / 100 != date / 100) {
        memset(bill->line[BILL_MONTH], 0, sizeof(bill->line[BILL_MONTH]));
    }
    bill->date = date;
}

uint64_t bill_sum(const struct bill *bill, enum bill_span span)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BILL_PURPOSES; i++) {
        sum += bill->line[span][i].bytes;
    }
    return sum;
}

/* ---- what a record is for ---- */
/* The next field of a protobuf message; content of a length-delimited one, else empty. False at the end. */
static bool next_field(struct cursor *c, uint64_t *ret_field, struct slice *ret_content)
{
    if (c->failed || c->at == c->end) {
        return false;
    }
    uint64_t tag = cursor_varint(c);
    *ret_field = tag >> 3;
    *ret_content = slice_of(NULL, 0);
    switch (tag & 7) {
    case 0:
        (void)cursor_varint(c);
        break;
    case 1:
        (void)cursor_u64le(c);
        break;
    case 2:
        *ret_content = cursor_bytes(c, cursor_varint(c));
        break;
    case 5:
        (void)cursor_u32le(c);
        break;
    default:
        c->failed = true;
    }
    return !c->failed;
}

static enum bill_purpose purpose_of_curated(struct slice curated)
{
    enum { BLOCK = 3, WINDOW = 4, CAPTURE = 5 };
    struct cursor c = cursor_of(curated);
    struct slice content;
    uint64_t field;
    bool rows = false, windows = false;
    while (next_field(&c, &field, &content)) {
        if (field == CAPTURE && content.len > 0) {
            return BILL_CAPTURES;
        }
        rows |= field == BLOCK;
        windows |= field == WINDOW;
    }
    return windows && !rows ? BILL_WINDOWS : BILL_CURATED;
}

enum bill_purpose bill_purpose_of(unsigned lane, struct slice record)
{
    struct cursor c = cursor_of(record);
    struct slice content;
    uint64_t field;
    while (next_field(&c, &field, &content)) {
        if (field == WEIR__V1__RECORD__KIND_GAP || field == WEIR__V1__RECORD__KIND_SUPPRESSED) {
            return BILL_DECLARATIONS;
        }
        if (field == WEIR__V1__RECORD__KIND_CURATED) {
            enum bill_purpose purpose = purpose_of_curated(content);
            return lane == 0 && purpose != BILL_CAPTURES ? BILL_ALARMS : purpose;
        }
    }
    return lane == 0 ? BILL_ALARMS : BILL_LIVE;
}
