/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tail - `weir tail DEVICE`: readings as the sink gets them.
 *
 * The bridge is asked every 500 ms for the rows behind the last one seen. While it does not answer (it is being started
 * again), that is said once, and asking goes on: nothing is shown twice, nothing is left out.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/loop/loop.h"
#include "core/options/options.h"

enum { OUT_MAX = 64 << 20, ROWS_MAX = 1000 };
static const int64_t POLL_US = 500 * MS_US;

struct tail {
    const struct args *args;
    struct doc *bridge;
    struct loop *loop;
    struct loop_timer timer;
    int64_t cursor; /* row of the last line; -1 = none yet */
    bool silent;    /* the bridge does not answer */
    enum exit_code code;
};

/* ---- lines ---- */
static void put_harmless(struct buffer *out, const char *text, int width)
{
    int shown = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        bool c1 = *c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        buffer_put_u8(out, *c < 0x20 || *c == 0x7f || c1 ? '?' : *c);
        shown += (*c & 0xc0) != 0x80;
        c += c1;
    }
    buffer_printf(out, "%*s", width > shown ? width - shown : 0, "");
}

static void put_reading(const cJSON *reading, struct buffer *out)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(reading, "value");
    char number[40] = "-";
    if (cJSON_IsNumber(value)) {
        snprintf(number, sizeof(number), "%.10g", value->valuedouble);
    }
    put_harmless(out, doc_text(reading, "ts"), 27);
    buffer_put_str(out, "  ");
    put_harmless(out, doc_text(reading, "channel"), 20);
    buffer_printf(out, " %14s ", number);
    put_harmless(out, doc_text(reading, "unit"), 0);
    buffer_put_u8(out, '\n');
}

enum err tail_lines(const cJSON *doc, bool json, int64_t *cursor, struct buffer *out, size_t *ret_count)
{
    const cJSON *readings = cJSON_GetObjectItemCaseSensitive(doc, "readings"), *reading;
    size_t count = 0;
    if (!cJSON_IsArray(readings)) {
        return ERR_MALFORMED;
    }
    cJSON_ArrayForEach(reading, readings)
    {
        uint64_t row;
        if (!doc_u64(reading, "row", &row) || doc_text(reading, "channel")[0] == '\0') {
            return ERR_MALFORMED;
        }
        if ((int64_t)row <= *cursor) {
            continue; /* seen */
        }
        *cursor = (int64_t)row;
        count++;
        if (json) {
            char *text = cJSON_PrintUnformatted(reading);
            if (text == NULL) {
                return ERR_NOMEM;
            }
            buffer_put_str(out, text);
            buffer_put_u8(out, '\n');
            free(text);
        } else {
            put_reading(reading, out);
        }
    }
    *ret_count = count;
    return buffer_err(out);
}

/* ---- asking ---- */
static enum err poll_bridge(struct tail *t, size_t *ret_count)
{
    CLEANUP(charp_freep) char *path = NULL;
    BUFFER(target, 4096);
    BUFFER(out, OUT_MAX);
    TRY(target_for("/tail?device=", t->args->device, &path));
    int64_t limit = t->cursor < 0 ? t->args->lines : ROWS_MAX;
    buffer_printf(&target, "%s&after=%" PRId64 "&limit=%" PRId64, path, t->cursor, limit);
    buffer_put_u8(&target, 0);
    TRY(buffer_err(&target));
    doc_ask(t->bridge, (const char *)target.ptr);
    if (t->bridge->json == NULL) {
        return ERR_AGAIN;
    }
    TRY(tail_lines(t->bridge->json, t->args->json, &t->cursor, &out, ret_count));
    t->cursor = max_i64(t->cursor, 0); /* from now on everything, not the newest */
    return print_out(&out) ? OK : ERR_IO;
}

static void finish(struct tail *t, enum exit_code code)
{
    t->code = code;
    loop_stop(t->loop);
}

static void on_time(void *arg)
{
    struct tail *t = arg;
    size_t count = 0;
    enum err err = poll_bridge(t, &count);
    if (err == ERR_AGAIN) {
        if (!t->silent) {
            print_message("%s%s", t->bridge->fault.text, t->args->once ? "" : "; asking again");
        }
        t->silent = true;
    } else if (err != OK) {
        print_message("%s: %s", t->bridge->socket, err == ERR_IO ? "nobody reads the output" : err_name(err));
        finish(t, EXIT_FAILED);
        return;
    } else {
        t->silent = false;
    }
    if (t->args->once) {
        finish(t, err == OK ? EXIT_OK : EXIT_UNREACHABLE);
        return;
    }
    loop_timer_in(&t->timer, count == ROWS_MAX ? 0 : POLL_US);
}

static void on_signal(void *arg, int signo)
{
    (void)signo;
    finish(arg, EXIT_OK);
}

static enum err run(struct tail *t)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    TRY(loop_new(&loop));
    t->loop = loop;
    TRY(loop_on_signal(loop, SIGINT, on_signal, t));
    TRY(loop_on_signal(loop, SIGTERM, on_signal, t));
    loop_timer_init(&t->timer, loop, on_time, t);
    loop_timer_in(&t->timer, 0);
    enum err err = loop_run(loop);
    loop_timer_cancel(&t->timer);
    return err;
}

/* The bridge whose sink has the device, or NULL after a message. */
static struct doc *find_bridge(const struct args *args, struct docs *docs, enum exit_code *ret_code)
{
    CLEANUP(charp_freep) char *target = NULL;
    struct options_nearest nearest = {.word = args->device};
    CLEANUP(ledger_deinit) struct ledger known = {.device = NULL};
    bool answered = false;
    *ret_code = EXIT_FAILED;
    if (target_for("/ledger?device=", args->device, &target) != OK) {
        return NULL;
    }
    for (size_t i = 0; i < docs->count; i++) {
        struct doc *doc = &docs->items[i];
        struct fault fault;
        if (!doc_is(doc->json, "bridge")) {
            continue;
        }
        answered = true;
        doc_ask(doc, target);
        if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(doc->json, "streams")) > 0) {
            return doc;
        }
        doc_ask(doc, "/ledger");
        if (doc->json != NULL && ledger_add(&known, doc->json, &fault) == ERR_NOMEM) {
            return NULL;
        }
    }
    for (size_t i = 0; i < known.count; i++) {
        options_nearest_offer(&nearest, known.rows[i].device);
    }
    *ret_code = answered ? EXIT_NOT_FOUND : EXIT_UNREACHABLE;
    if (answered) {
        print_message("nothing of a device %s is in the sink%s%s%s", args->device,
                      nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    } else {
        print_message("no bridge answers in %s", args->run);
    }
    return NULL;
}

enum exit_code tail_verb(const struct args *args)
{
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    struct fault fault = {.code = OK};
    struct tail t = {.args = args, .cursor = -1, .code = EXIT_FAILED};
    if (docs_find(args->run, &docs, &fault) != OK) {
        print_message("%s; name the folder of the control sockets with --run DIR or WEIR_RUN", fault.text);
        return EXIT_UNREACHABLE;
    }
    docs_ask(&docs, "/status");
    t.bridge = find_bridge(args, &docs, &t.code);
    if (t.bridge == NULL) {
        return t.code;
    }
    enum err err = run(&t);
    if (err != OK) {
        print_message("cannot go on: %s", err_name(err));
        return EXIT_FAILED;
    }
    return t.code;
}
