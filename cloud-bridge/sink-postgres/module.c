/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module: settings, life, and who is to blame when the server dislikes a batch.
 */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

#include <stdio.h>

#include "cloud-bridge/sinks/server.h"

enum { COPY_MAX = 64 << 20 };

#define AT(member) offsetof(struct postgres_settings, member)
static const struct option table[] = {
    {.name = "url", .type = OPTION_STRING, .offset = AT(url), .min = 1, .max = 1000, .required = true,
     .help = "Database as libpq names it: postgresql://user@host/database?sslmode=verify-full&sslrootcert=ca.crt, or"
             " key=value pairs."},
    {.name = "password_file", .type = OPTION_FILE, .offset = AT(password_file), .preset = "",
     .help = "File whose first line is the password; read at every connection."},
    {.name = "schema", .type = OPTION_ID, .offset = AT(schema), .preset = "weir",
     .help = "Schema that holds the tables; made when it is not there."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = AT(timeout_us), .min = 1e5, .max = 300e6, .preset = "10s",
     .help = "Longest wait for the server; also its limit for a statement and for a lock."},
    {.name = "timescale", .type = OPTION_BOOL, .offset = AT(timescale), .preset = "true",
     .help = "Make the readings a hypertable where the extension timescaledb is installed."},
    {.name = NULL},
};

/* ---- settings ---- */
static const char *value_of(const PQconninfoOption *options, const char *key)
{
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, key) == 0) {
            return o->val;
        }
    }
    return NULL;
}

/* Every host of the list. */
static bool is_local(const char *hosts)
{
    bool local = true;
    for (const char *at = hosts ? hosts : ""; *at != '\0' && local; at += strcspn(at, ","), at += *at == ',') {
        size_t len = strcspn(at, ",");
        local = *at == '/' || *at == '@' || strncmp(at, "127.", 4) == 0 ||
                (len == 9 && strncmp(at, "localhost", 9) == 0) || (len == 3 && strncmp(at, "::1", 3) == 0);
    }
    return local;
}

static void free_options(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static void free_text(char **text)
{
    PQfreemem(*text);
}

static enum err check(const void *item, struct buffer *problems)
{
    const struct postgres_settings *s = item;
    CLEANUP(free_text) char *why = NULL;
    CLEANUP(free_options) PQconninfoOption *options = PQconninfoParse(s->url, &why);
    if (options == NULL) {
        buffer_printf(problems, "url: %.*s\n", why ? (int)strcspn(why, "\n") : 13, why ? why : "out of memory");
        return ERR_RANGE;
    }
    const char *host = value_of(options, "host"), *address = value_of(options, "hostaddr");
    if (value_of(options, "sslmode") == NULL && (!is_local(host) || !is_local(address))) {
        buffer_printf(problems, "url: a server on another machine needs sslmode=verify-full and sslrootcert"
                                " (or, on purpose, another sslmode)\n");
        return ERR_RANGE;
    }
    return OK;
}

/* ---- life ---- */
static void postgres_close(void *self)
{
    struct postgres *pg = self;
    if (pg == NULL) {
        return;
    }
    pg_close(pg);
    for (unsigned i = 0; i < TABLES; i++) {
        buffer_deinit(&pg->copy[i]);
    }
    sink_reader_deinit(&pg->reader);
    free(pg);
}
DEFINE_CLEANUP(void, postgres_close)

static enum err postgres_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct postgres *pg = self;
    TRY(pg_open(pg, &pg->fault));
    pg->has_left = false; /* what it says now is what it is held against */
    enum err err = pg_positions(pg, epoch, ret_position, &pg->fault);
    if (err != OK) {
        pg_close(pg);
    }
    return err;
}

static const char *postgres_why(void *self)
{
    struct postgres *pg = self;
    return pg->fault.text;
}

/* ---- writing ---- */
/* In a transaction that is rolled back. */
static enum err try_items(void *arg, const struct sink_batch *batch, size_t first, size_t count, bool *ret_disliked,
                          struct fault *reterr)
{
    struct postgres *pg = arg;
    enum err err = pg_transaction(pg, batch, first, count, false, reterr);
    pg_rollback(pg);
    *ret_disliked = pg->conn != NULL && pg_disliked(pg);
    return err;
}

static enum err postgres_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct postgres *pg = self;
    TRY(pg_open(pg, reterr));
    enum err err = pg_transaction(pg, batch, 0, batch->count, true, reterr);
    if (err == OK) {
        return OK;
    }
    pg_rollback(pg);
    if (pg->conn == NULL || !pg_disliked(pg)) {
        return err;
    }
    const struct sink_offer offer = {.try_items = try_items, .arg = pg};
    size_t blamed = 0;
    enum err end = sink_find_guilty(&offer, batch, &blamed);
    return end != OK ? end : blamed > 0 ? ERR_UNSUPPORTED : err;
}

static const struct sink_ops ops = {.name = "postgres",
                                    .remote = true,
                                    .write = postgres_write,
                                    .position = postgres_position,
                                    .close = postgres_close,
                                    .why = postgres_why};

static enum err postgres_open(const struct sink_place *place, const void *item, struct sink *ret_sink,
                              struct fault *reterr)
{
    struct postgres *pg = calloc(1, sizeof(*pg));
    CLEANUP(postgres_closep) void *guard = pg;
    (void)place;
    if (pg == NULL || sink_reader_init(&pg->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    pg->settings = item;
    for (unsigned i = 0; i < TABLES; i++) {
        buffer_init(&pg->copy[i], COPY_MAX);
    }
    *ret_sink = (struct sink){.ops = &ops, .self = take(guard)};
    return OK;
}

const struct sink_module weir_sink_module = {
    .abi = SINK_MODULE_ABI,
    .layout = SINK_MODULE_LAYOUT,
    .name = "postgres",
    .summary = "PostgreSQL, with or without TimescaleDB; tables as those of the SQLite sink.",
    .table = table,
    .item_size = sizeof(struct postgres_settings),
    .check = check,
    .open = postgres_open,
};
