/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_verb - `weir dead`: records that a sink can never take, as the bridge keeps them.
 *
 * replay and drop go letter by letter: asked for, then looked at until it is gone.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/loop/loop.h"

enum { OUT_MAX = 64 << 20, LETTERS_MAX = 1000, POLL_US = 50000, POLLS_MAX = 400 };

struct dead {
    const struct args *args;
    struct doc *bridge;
    uint64_t ids[LETTERS_MAX]; /* to do */
    size_t count, at;
    bool asked;
    unsigned polls;
    size_t done, left;
    struct loop *loop;
    struct loop_timer timer;
};

static enum err ask(struct dead *d, const char *path, const char *key, uint64_t value)
{
    char target[256];
    snprintf(target, sizeof(target), "%s?%s=%" PRIu64 "%s%s", path, key, value, d->args->sink ? "&sink=" : "",
             d->args->sink ? d->args->sink : "");
    doc_ask(d->bridge, target);
    return d->bridge->json != NULL ? OK : d->bridge->fault.code;
}

/* ---- ls, show ---- */
static void put_letters(const cJSON *letters, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table table = {.columns = "rllrllrl", .width = 8};
    static const char *const heads[] = {"id", "sink", "device", "lane", "numbers", "refused", "times", "reason"};
    const cJSON *letter;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&table, PAINT_NONE, "%s", heads[i]);
    }
    cJSON_ArrayForEach(letter, letters) {
        uint64_t first = doc_u64_or_0(letter, "first"), last = doc_u64_or_0(letter, "last");
        table_add(&table, PAINT_NONE, "%" PRIu64, doc_u64_or_0(letter, "id"));
        table_add(&table, PAINT_NONE, "%s", doc_text(letter, "sink"));
        table_add(&table, PAINT_NONE, "%s", doc_text(letter, "device"));
        table_add(&table, PAINT_NONE, "%" PRIu64, doc_u64_or_0(letter, "lane"));
        if (first == last) {
            table_add(&table, PAINT_NONE, "%" PRIu64, first);
        } else {
            table_add(&table, PAINT_NONE, "%" PRIu64 "..%" PRIu64, first, last);
        }
        table_add(&table, PAINT_NONE, "%s", doc_text(letter, "refused"));
        table_add(&table, PAINT_NONE, "%" PRIu64, doc_u64_or_0(letter, "attempts"));
        table_add(&table, PAINT_NONE, "%s", doc_text(letter, "reason"));
    }
    table_print(&table, color, out);
}

static void put_json(const cJSON *json, struct buffer *out)
{
    char *text = cJSON_PrintUnformatted(json);
    buffer_put_str(out, text ? text : "null");
    buffer_put_str(out, "\n");
    cJSON_free(text);
}

static enum exit_code list(struct dead *d)
{
    BUFFER(out, OUT_MAX);
    uint64_t from = 0;
    size_t count;
    do { /* page by page */
        if (ask(d, "/dead", "from", from) != OK) {
            print_message("%s", d->bridge->fault.text);
            return EXIT_UNREACHABLE;
        }
        const cJSON *letters = cJSON_GetObjectItemCaseSensitive(d->bridge->json, "letters");
        count = (size_t)cJSON_GetArraySize(letters);
        if (d->args->json) {
            put_json(d->bridge->json, &out);
        } else if (count > 0) {
            put_letters(letters, d->args->color, &out);
            from = doc_u64_or_0(cJSON_GetArrayItem(letters, (int)count - 1), "id") + 1;
        }
    } while (count == LETTERS_MAX && !d->args->json);
    if (!d->args->json) {
        uint64_t letters = doc_u64_or_0(d->bridge->json, "count"), gone = doc_u64_or_0(d->bridge->json, "dropped");
        buffer_printf(&out, "%" PRIu64 " letter%s, %" PRIu64 " older one%s had to go for newer ones\n", letters,
                      letters == 1 ? "" : "s", gone, gone == 1 ? "" : "s");
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code show(struct dead *d, uint64_t id)
{
    BUFFER(out, OUT_MAX);
    enum err err = ask(d, "/dead/show", "id", id);
    if (err != OK) {
        print_message(err == ERR_NOT_FOUND ? "there is no letter %" PRIu64 : "letter %" PRIu64 " cannot be shown", id);
        return err == ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_UNREACHABLE;
    }
    if (d->args->json) {
        put_json(d->bridge->json, &out);
        return print_out(&out) ? EXIT_OK : EXIT_FAILED;
    }
    const cJSON *member;
    cJSON_ArrayForEach(member, d->bridge->json) {
        if (cJSON_IsString(member)) {
            buffer_printf(&out, "%-10s %s\n", member->string, member->valuestring);
        } else {
            buffer_printf(&out, "%-10s %.0f\n", member->string, member->valuedouble);
        }
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- replay, drop ---- */
static void next(struct dead *d, bool done)
{
    *(done ? &d->done : &d->left) += 1;
    d->at++;
    d->asked = false;
    d->polls = 0;
}

static void on_time(void *arg)
{
    struct dead *d = arg;
    const char *path = strcmp(d->args->words[0], "drop") == 0 ? "/dead/drop" : "/dead/replay";
    for (unsigned n = 0; n < 32 && d->at < d->count; n++) {
        enum err err = ask(d, d->asked ? "/dead/show" : path, "id", d->ids[d->at]);
        if (err == ERR_NOT_FOUND) {
            next(d, d->asked);
            continue;
        }
        d->asked = d->asked || err == OK;
        if (++d->polls == POLLS_MAX) {
            next(d, false);
            continue;
        }
        break;
    }
    if (d->at == d->count) {
        loop_stop(d->loop);
        return;
    }
    loop_timer_in(&d->timer, POLL_US);
}

static enum err go_through(struct dead *d)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    TRY(loop_new(&loop));
    d->loop = loop;
    loop_timer_init(&d->timer, loop, on_time, d);
    loop_timer_in(&d->timer, 0);
    enum err err = loop_run(loop);
    loop_timer_cancel(&d->timer);
    return err;
}

static enum err find_ids(struct dead *d, const char *which)
{
    char *end = NULL;
    if (strcmp(which, "all") != 0) {
        d->ids[0] = strtoull(which, &end, 10);
        d->count = 1;
        TRY(*end == '\0' && d->ids[0] > 0 ? OK : ERR_RANGE);
        return ask(d, "/dead/show", "id", d->ids[0]);
    }
    TRY(ask(d, "/dead", "from", 0));
    const cJSON *letter;
    cJSON_ArrayForEach(letter, cJSON_GetObjectItemCaseSensitive(d->bridge->json, "letters")) {
        if (d->count < LETTERS_MAX) {
            d->ids[d->count++] = doc_u64_or_0(letter, "id");
        }
    }
    return OK;
}

/* Letters that came with a number above those: refused again. */
static size_t came_back(struct dead *d)
{
    uint64_t last = d->count > 0 ? d->ids[d->count - 1] : 0;
    size_t count = 0;
    const cJSON *letter;
    if (ask(d, "/dead", "from", last + 1) != OK) {
        return 0;
    }
    cJSON_ArrayForEach(letter, cJSON_GetObjectItemCaseSensitive(d->bridge->json, "letters")) {
        count += doc_u64_or_0(letter, "attempts") > 1;
    }
    return count;
}

static enum exit_code act(struct dead *d, const char *which)
{
    BUFFER(out, 1024);
    bool replays = strcmp(d->args->words[0], "replay") == 0;
    enum err err = find_ids(d, which);
    if (err != OK) {
        print_message(err == ERR_RANGE       ? "a letter's number, or all: %s"
                      : err == ERR_NOT_FOUND ? "there is no letter %s"
                                             : "the bridge does not say what letters there are (%s)", which);
        return err == ERR_RANGE ? EXIT_USAGE : err == ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_UNREACHABLE;
    }
    if (go_through(d) != OK) {
        print_message("cannot go on");
        return EXIT_FAILED;
    }
    size_t refused = replays ? min_u64(came_back(d), d->done) : 0;
    buffer_printf(&out, d->args->json ? "{\"%s\":%zu,\"refused_again\":%zu,\"left\":%zu}\n"
                                      : "%s %zu, refused again %zu, left %zu\n",
                  replays ? "taken" : "dropped", d->done - refused, refused, d->left);
    return print_out(&out) && d->left == 0 && refused == 0 ? EXIT_OK : EXIT_FAILED;
}

static struct doc *find_bridge(const struct args *args, struct docs *docs)
{
    struct doc *bridge = NULL;
    for (size_t i = 0; i < docs->count; i++) {
        if (!doc_is(docs->items[i].json, "bridge")) {
            continue;
        }
        if (bridge != NULL) {
            print_message("there are several bridges in %s; name a folder with one: --run DIR", args->run);
            return NULL;
        }
        bridge = &docs->items[i];
    }
    if (bridge == NULL) {
        print_message("no bridge answers in %s", args->run);
    }
    return bridge;
}

enum exit_code dead_verb(const struct args *args)
{
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    static struct dead d;
    struct fault fault = {.code = OK};
    const char *verb = args->words[0], *which = args->words[1];
    bool ls = strcmp(verb, "ls") == 0, shows = strcmp(verb, "show") == 0;
    if (!ls && !shows && strcmp(verb, "replay") != 0 && strcmp(verb, "drop") != 0) {
        print_message("dead knows ls, show, replay, drop; not %s", verb);
        return EXIT_USAGE;
    }
    if (ls != (which == NULL) || (shows && strtoull(which, NULL, 10) == 0)) {
        print_message("usage: weir dead ls, weir dead show NUMBER, weir dead replay|drop NUMBER|all");
        return EXIT_USAGE;
    }
    if (args->sink != NULL && !id_valid(slice_str(args->sink))) {
        print_message("--sink takes a sink's name");
        return EXIT_USAGE;
    }
    if (docs_find(args->run, &docs, &fault) != OK) {
        print_message("%s; name the folder of the control sockets with --run DIR or WEIR_RUN", fault.text);
        return EXIT_UNREACHABLE;
    }
    docs_ask(&docs, "/status");
    d = (struct dead){.args = args, .bridge = find_bridge(args, &docs)};
    if (d.bridge == NULL) {
        return EXIT_UNREACHABLE;
    }
    return ls ? list(&d) : shows ? show(&d, strtoull(which, NULL, 10)) : act(&d, which);
}
