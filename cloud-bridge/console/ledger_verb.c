/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger_verb - `weir ledger`: asks from the sink towards the devices, joins, prints.
 */
#include "cloud-bridge/console/console_internal.h"
#include "core/options/options.h"

enum { OUT_MAX = 256 << 20 };

static void depths_free(unsigned **depths)
{
    free(*depths);
}

static void flags_free(bool **flags)
{
    free(*flags);
}

static void ask_program(struct docs *docs, const bool *is_program, const char *target)
{
    for (size_t i = 0; i < docs->count; i++) {
        if (is_program[i]) {
            doc_ask(&docs->items[i], target);
        }
    }
}

/* Children again behind their parents, so that from gateway to gateway what is asked later is nearer the device. */
static enum err ask_children(struct docs *docs, const bool *is_gateway, const char *target)
{
    CLEANUP(depths_free) unsigned *depths = calloc(docs->count + 1, sizeof(*depths));
    if (depths == NULL) {
        return ERR_NOMEM;
    }
    ledger_gateway_depths(docs, depths);
    for (unsigned depth = 1, deeper = 1; deeper; depth++) {
        deeper = 0;
        for (size_t i = 0; i < docs->count; i++) {
            if (is_gateway[i] && depths[i] == depth) {
                doc_ask(&docs->items[i], target);
            }
            deeper |= depths[i] > depth;
        }
    }
    return OK;
}

/* docs have their /status; afterwards their /ledger. */
static enum err ask_ledgers(struct docs *docs, const char *target)
{
    static const char *const order[] = {"bridge", "gateway", "device"};
    for (size_t p = 0; p < COUNT_OF(order); p++) {
        CLEANUP(flags_free) bool *is_program = calloc(docs->count + 1, sizeof(*is_program));
        if (is_program == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < docs->count; i++) {
            is_program[i] = doc_is(docs->items[i].json, order[p]);
        }
        ask_program(docs, is_program, target);
        if (p == 1) {
            TRY(ask_children(docs, is_program, target));
        }
    }
    return OK;
}

/* A daemon that does not know the device answers 404: that is an empty ledger. */
static enum err join_ledgers(const struct docs *docs, struct ledger *ledger)
{
    for (size_t i = 0; i < docs->count; i++) {
        const struct doc *doc = &docs->items[i];
        struct fault fault = {.code = OK};
        enum err err = doc->json ? ledger_add(ledger, doc->json, &fault) : OK;
        if (err == ERR_NOMEM) {
            return err;
        }
        if (err != OK) {
            print_message("%s: %s", doc->socket, fault.text[0] ? fault.text : err_name(err));
        } else if (doc->json == NULL && doc->fault.code != ERR_NOT_FOUND) {
            print_message("%s", doc->fault.text);
        }
    }
    ledger_close(ledger);
    return OK;
}

static enum exit_code report_unknown(const struct args *args, struct docs *docs)
{
    CLEANUP(ledger_deinit) struct ledger all = {.device = NULL};
    struct options_nearest nearest = {.word = args->device};
    docs_ask(docs, "/ledger");
    for (size_t i = 0; i < docs->count; i++) {
        struct fault fault;
        if (docs->items[i].json != NULL && ledger_add(&all, docs->items[i].json, &fault) == ERR_NOMEM) {
            return EXIT_FAILED;
        }
    }
    ledger_close(&all);
    for (size_t i = 0; i < all.count; i++) {
        options_nearest_offer(&nearest, all.rows[i].device);
    }
    print_message("no device %s is known%s%s%s", args->device, nearest.best ? "; did you mean " : "",
                  nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    return EXIT_NOT_FOUND;
}

static size_t reachable(const struct docs *docs)
{
    size_t count = 0;
    for (size_t i = 0; i < docs->count; i++) {
        count += docs->items[i].json != NULL;
    }
    return count;
}

enum exit_code ledger_verb(const struct args *args)
{
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    CLEANUP(ledger_deinit) struct ledger ledger = {.device = args->device};
    CLEANUP(charp_freep) char *target = NULL;
    struct fault fault = {.code = OK};
    BUFFER(out, OUT_MAX);
    if (docs_find(args->run, &docs, &fault) != OK) {
        print_message("%s; name the folder of the control sockets with --run DIR or WEIR_RUN", fault.text);
        return EXIT_UNREACHABLE;
    }
    docs_ask(&docs, "/status");
    if (reachable(&docs) == 0) {
        print_message("no daemon answers in %s", args->run);
        return EXIT_UNREACHABLE;
    }
    if (target_for(args->device ? "/ledger?device=" : "/ledger", args->device, &target) != OK ||
        ask_ledgers(&docs, target) != OK || join_ledgers(&docs, &ledger) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    if (args->device != NULL && ledger.count == 0) {
        return report_unknown(args, &docs);
    }
    if (args->json) {
        ledger_json(&ledger, &docs, &out);
    } else {
        ledger_print(&ledger, args->color, &out);
    }
    return print_out(&out) ? ledger_exit(&ledger, args->settled) : EXIT_FAILED;
}
