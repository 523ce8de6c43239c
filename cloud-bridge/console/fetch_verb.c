/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch_verb - `weir fetch DEVICE --from T --to T`: readings that the gateway's ring still has.
 *
 *   asked --> waiting until the question is noted --> page, page, ... --> done
 *
 * Rows go out as they come; what the ring has no more is said on stderr.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/base/json.h"
#include "core/loop/loop.h"

enum { LINE_BYTES = 256 * 1024, POLL_US = 10000, POLLS_MAX = 1000 };

struct fetch {
    const struct args *args;
    struct gateway_doc *gateway;
    struct loop *loop;
    struct loop_timer timer;
    struct readings readings;
    struct buffer line;
    FILE *out;
    int64_t from_us, to_us, last_us;
    uint64_t question, cursor, rows, left_out, oldest_us, ring_us;
    unsigned polls;
    bool json, full, written, overtaken;
    enum exit_code code;
};

static void fetch_deinit(struct fetch *f)
{
    readings_deinit(&f->readings);
    buffer_deinit(&f->line);
    if (f->out != NULL && f->out != stdout) {
        (void)fclose(f->out);
    }
}

/* ---- rows ---- */
static void put_number(struct buffer *out, double value)
{
    if (value == rint(value) && fabs(value) < 0x1p63) {
        buffer_printf(out, "%.0f", value); /* pseudonyms have more digits than a measurement */
    } else {
        buffer_printf(out, "%.15g", value);
    }
}

/* A cell as RFC 4180 has it; controls from outside become '?'. */
static void put_cell(struct buffer *out, const char *text)
{
    bool plain = strpbrk(text, ",\"") == NULL;
    buffer_put_str(out, plain ? "" : "\"");
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        buffer_put_str(out, *c == '"' ? "\"" : "");
        buffer_put_u8(out, *c < 0x20 || *c == 0x7f ? '?' : *c);
    }
    buffer_put_str(out, plain ? "" : "\"");
}

static void csv_row(struct fetch *f, const struct reading_row *row)
{
    struct readings *r = &f->readings;
    if (r->fresh) {
        buffer_put_str(&f->line, f->rows > 0 ? "\ntime" : "time"); /* other channels: another table */
        for (size_t i = 0; i < r->channels; i++) {
            buffer_put_u8(&f->line, ',');
            put_cell(&f->line, r->names[i]);
        }
        buffer_put_u8(&f->line, '\n');
        r->fresh = false;
    }
    buffer_put_str(&f->line, stamp_of(row->time_us).text);
    for (size_t i = 0; i < r->channels; i++) {
        buffer_put_u8(&f->line, ',');
        if (!isnan(row->values[i])) {
            put_number(&f->line, row->values[i]);
        }
    }
    buffer_put_u8(&f->line, '\n');
}

static void json_row(struct fetch *f, const struct reading_row *row)
{
    struct json j;
    json_init(&j, &f->line);
    json_object(&j, NULL);
    json_str(&j, "time", stamp_of(row->time_us).text);
    json_i64(&j, "time_us", row->time_us);
    json_object(&j, "values");
    for (size_t i = 0; i < f->readings.channels; i++) {
        if (!isnan(row->values[i])) {
            json_f64(&j, f->readings.names[i], row->values[i]);
        }
    }
    json_object_end(&j);
    json_object_end(&j);
    buffer_put_u8(&f->line, '\n');
}

static bool on_row(void *arg, const struct reading_row *row)
{
    struct fetch *f = arg;
    if (row->time_us < f->from_us || row->time_us > f->to_us) {
        return true; /* of a record that reaches beyond */
    }
    if (f->args->limit != 0 && f->rows == (uint64_t)f->args->limit) {
        f->full = true;
        return false;
    }
    buffer_reset(&f->line);
    if (f->json) {
        json_row(f, row);
    } else {
        csv_row(f, row);
    }
    f->written = buffer_err(&f->line) == OK && fwrite(f->line.ptr, 1, f->line.len, f->out) == f->line.len;
    f->rows++;
    f->last_us = row->time_us;
    return f->written;
}

/* ---- the conversation ---- */
static void finish(struct fetch *f, enum exit_code code)
{
    f->code = code;
    loop_stop(f->loop);
}

static bool take_page(struct fetch *f, const cJSON *page)
{
    const cJSON *record;
    cJSON_ArrayForEach(record, cJSON_GetObjectItemCaseSensitive(page, "records"))
    {
        enum err err = readings_take(&f->readings, record, on_row, f);
        if (err != OK) {
            print_message("a record that gateway %s gives cannot be read: %s", f->gateway->id, err_name(err));
            return false;
        }
        if (!f->written) {
            print_message("%s: %s", f->args->out != NULL ? f->args->out : "the output", strerror(errno));
            return false;
        }
        if (f->full) {
            break;
        }
    }
    f->cursor = doc_u64_or_0(page, "cursor");
    f->left_out = doc_u64_or_0(page, "left_out");
    f->oldest_us = doc_u64_or_0(page, "oldest_us");
    f->ring_us = doc_u64_or_0(page, "ring_us");
    f->overtaken |= cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(page, "overtaken"));
    return true;
}

static void on_time(void *arg)
{
    struct fetch *f = arg;
    char target[160];
    snprintf(target, sizeof(target), "/fetch?question=%" PRIu64 "&cursor=%" PRIu64 "%s", f->question, f->cursor,
             f->full ? "&end=1" : "");
    enum exit_code code = gateway_ask(f->gateway, target);
    if (code != EXIT_OK || f->full) {
        finish(f, code);
        return;
    }
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(f->gateway->doc->json, "wait"))) {
        if (++f->polls == POLLS_MAX) {
            print_message("gateway %s cannot note the question: its store takes nothing", f->gateway->id);
            finish(f, EXIT_UNREACHABLE);
            return;
        }
        loop_timer_in(&f->timer, POLL_US);
        return;
    }
    if (!take_page(f, f->gateway->doc->json)) {
        finish(f, EXIT_FAILED);
        return;
    }
    if (f->cursor == 0) {
        finish(f, EXIT_OK);
        return;
    }
    loop_timer_in(&f->timer, 0);
}

static enum exit_code ask(struct fetch *f)
{
    CLEANUP(charp_freep) char *path = NULL;
    BUFFER(target, 4096);
    if (target_for("/fetch?device=", f->args->device, &path) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    buffer_printf(&target, "%s&from=%" PRId64 "&to=%" PRId64 "%s", path, f->from_us, f->to_us,
                  f->args->unmasked ? "&unmasked=1" : "");
    buffer_put_u8(&target, 0);
    enum exit_code code = gateway_ask(f->gateway, (const char *)target.ptr);
    f->question = doc_u64_or_0(f->gateway->doc->json, "question");
    return code;
}

/* What the rows do not say. */
static enum exit_code tell(const struct fetch *f)
{
    if (f->oldest_us > (uint64_t)f->from_us) {
        print_message("the ring of gateway %s has readings of %s from %s on: what is before went up as the rules said",
                      f->gateway->id, f->args->device, stamp_of((int64_t)f->oldest_us).text);
    } else if (f->oldest_us == 0 && !f->full) {
        print_message("the ring of gateway %s has nothing of %s%s%s", f->gateway->id, f->args->device,
                      f->ring_us > 0 ? "; it goes back to " : "",
                      f->ring_us > 0 ? stamp_of((int64_t)f->ring_us).text : "");
    }
    if (f->overtaken) {
        print_message("the ring was trimmed while it was read: readings are missing in between");
    }
    if (f->left_out > 0) {
        print_message(
            "%" PRIu64
            " records were left out: the rules let nothing of them out, or their channels are not described any more",
            f->left_out);
    }
    if (f->full) {
        print_message("ended at %" PRIu64 " rows; go on with --from %s", f->rows, stamp_of(f->last_us + 1).text);
    }
    print_message("%" PRIu64 " rows of %s from %s to %s", f->rows, f->args->device, stamp_of(f->from_us).text,
                  stamp_of(f->to_us).text);
    return f->rows > 0 ? EXIT_OK : EXIT_NOT_FOUND;
}

static enum exit_code run(struct fetch *f)
{
    enum exit_code code = ask(f);
    if (code != EXIT_OK) {
        return code;
    }
    if (f->args->out != NULL && (f->out = fopen(f->args->out, "we")) == NULL) {
        print_message("%s: %s", f->args->out, strerror(errno));
        return EXIT_FAILED;
    }
    loop_timer_init(&f->timer, f->loop, on_time, f);
    loop_timer_in(&f->timer, 0);
    enum err err = loop_run(f->loop);
    loop_timer_cancel(&f->timer);
    if (err != OK || f->code != EXIT_OK) {
        return err != OK ? EXIT_FAILED : f->code;
    }
    if (fflush(f->out) != 0) {
        print_message("%s: %s", f->args->out != NULL ? f->args->out : "the output", strerror(errno));
        return EXIT_FAILED;
    }
    return tell(f);
}

static enum exit_code usage(const struct args *args, struct fetch *f)
{
    int64_t now_us = loop_wall_us(f->loop);
    const char *format = args->format != NULL ? args->format : args->json ? "json" : "csv";
    f->json = strcmp(format, "json") == 0;
    if (!f->json && strcmp(format, "csv") != 0) {
        print_message("--format takes csv or json, not %s", format);
        return EXIT_USAGE;
    }
    if (args->from == NULL) {
        print_message("fetch needs --from: 2026-11-22T13:00:00Z, or -10min (before now)");
        return EXIT_USAGE;
    }
    if (!to_time(args->from, now_us, &f->from_us) ||
        !to_time(args->to != NULL ? args->to : "now", now_us, &f->to_us) || f->to_us < f->from_us) {
        print_message("--from and --to take times in order: 2026-11-22T13:00:00Z, -10min (before now), now");
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

enum exit_code fetch_verb(const struct args *args)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    CLEANUP(gateways_deinit) struct gateways g = {.count = 0};
    CLEANUP(fetch_deinit) struct fetch f = {.args = args, .out = stdout, .written = true, .code = EXIT_FAILED};
    buffer_init(&f.line, LINE_BYTES);
    if (loop_new(&loop) != OK || readings_init(&f.readings) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    f.loop = loop;
    enum exit_code code = usage(args, &f);
    code = code == EXIT_OK ? gateways_one(args, &g, &f.gateway) : code;
    return code == EXIT_OK ? run(&f) : code;
}
