/* SPDX-License-Identifier: Apache-2.0 */
/* gateways - which gateway is meant: the one that is named, or the only one. */
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/options/options.h"

void gateways_deinit(struct gateways *g)
{
    free(g->items);
    docs_deinit(&g->docs);
    *g = (struct gateways){.count = 0};
}

enum exit_code exit_of(enum err err)
{
    return err == OK              ? EXIT_OK
           : err == ERR_NOT_FOUND ? EXIT_NOT_FOUND
           : err == ERR_DENIED    ? EXIT_DENIED
           : err == ERR_RANGE     ? EXIT_USAGE
           : err == ERR_NOMEM     ? EXIT_FAILED
                                  : EXIT_UNREACHABLE;
}

enum exit_code gateway_ask(struct gateway_doc *gateway, const char *target)
{
    doc_ask(gateway->doc, target);
    if (gateway->doc->json == NULL) {
        print_message("%s", gateway->doc->fault.text);
        return exit_of(gateway->doc->fault.code);
    }
    return EXIT_OK;
}

static enum exit_code nobody(const struct args *args, const struct gateways *g)
{
    struct options_nearest nearest = {.word = args->gateway};
    bool any = false;
    for (size_t i = 0; i < g->docs.count; i++) {
        if (doc_is(g->docs.items[i].json, "gateway")) {
            any = true;
            options_nearest_offer(&nearest, doc_text(g->docs.items[i].json, "id"));
        }
    }
    if (!any) {
        print_message("no gateway answers in %s", args->run);
        return EXIT_UNREACHABLE;
    }
    print_message("no gateway %s answers in %s%s%s%s", args->gateway, args->run, nearest.best ? "; did you mean " : "",
                  nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    return EXIT_NOT_FOUND;
}

enum exit_code gateways_find(const struct args *args, struct gateways *ret_gateways)
{
    CLEANUP(gateways_deinit) struct gateways g = {.count = 0};
    struct fault fault = {.code = OK};
    if (docs_find(args->run, &g.docs, &fault) != OK) {
        print_message("%s; name the folder of the control sockets with --run DIR or WEIR_RUN", fault.text);
        return EXIT_UNREACHABLE;
    }
    docs_ask(&g.docs, "/status");
    g.items = calloc(g.docs.count + 1, sizeof(*g.items));
    if (g.items == NULL) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < g.docs.count; i++) {
        struct doc *doc = &g.docs.items[i];
        const char *id = doc_text(doc->json, "id");
        if (doc_is(doc->json, "gateway") && (args->gateway == NULL || strcmp(id, args->gateway) == 0)) {
            g.items[g.count].doc = doc;
            snprintf(g.items[g.count++].id, sizeof(g.items[0].id), "%s", id);
        }
    }
    if (g.count == 0) {
        return nobody(args, &g);
    }
    *ret_gateways = g;
    g = (struct gateways){.count = 0};
    return EXIT_OK;
}

enum exit_code gateways_one(const struct args *args, struct gateways *ret_gateways, struct gateway_doc **ret_one)
{
    BUFFER(names, 512);
    enum exit_code code = gateways_find(args, ret_gateways);
    if (code != EXIT_OK) {
        return code;
    }
    if (ret_gateways->count == 1) {
        *ret_one = ret_gateways->items;
        return EXIT_OK;
    }
    for (size_t i = 0; i < ret_gateways->count && i < 6; i++) {
        buffer_printf(&names, "%s%s", i > 0 ? ", " : "", ret_gateways->items[i].id);
    }
    buffer_put_u8(&names, 0);
    print_message("there are %zu gateways (%s%s); name one with --gateway", ret_gateways->count, (char *)names.ptr,
                  ret_gateways->count > 6 ? ", ..." : "");
    return EXIT_USAGE;
}
