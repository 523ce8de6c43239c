/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger - every number of every stream accounted for: joins what device, gateway and sink say by (device, epoch).
 *
 *   read     the device's durable top when it answers, else the top it last told its gateway, else the one that came
 *            with its records to the sink
 *   balanced sink hwm == records + gaps + suppressed  and  sink hwm <= gateway hwm <= read
 *
 * The daemons are not asked in the same instant. Numbers only grow, so they are asked from the sink towards the device:
 * what is asked later can only be larger, and an inequality that does not hold is not a race. What a tier that did not
 * answer would say is left out of the judgement.
 *
 * A gateway is itself a sender to its parent, so its own stream (device = gateway) appears in the parent's books; those
 * rows belong to the hops. Pure: documents in, rows out.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"

enum { STREAMS_MAX = 400000 };

void ledger_deinit(struct ledger *l)
{
    free(l->rows);
    free(l->hops);
    free(l->gateways);
    *l = (struct ledger){.count = 0};
}

/* ---- growing ---- */
static enum err grow(void **items, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return OK;
    }
    size_t more = *cap ? 2 * *cap : 64;
    void *grown = realloc(*items, more * size);
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    memset((char *)grown + *cap * size, 0, (more - *cap) * size);
    *items = grown;
    *cap = more;
    return OK;
}

static enum err add_row(struct ledger *l, struct ledger_row **ret_row)
{
    void *rows = l->rows;
    TRY(l->count < STREAMS_MAX ? OK : ERR_FULL);
    TRY(grow(&rows, l->count, &l->cap, sizeof(*l->rows)));
    l->rows = rows;
    *ret_row = &l->rows[l->count++];
    memset(*ret_row, 0, sizeof(**ret_row));
    return OK;
}

static enum err add_hop(struct ledger *l, struct ledger_hop **ret_hop)
{
    void *hops = l->hops;
    TRY(grow(&hops, l->hop_count, &l->hop_cap, sizeof(*l->hops)));
    l->hops = hops;
    *ret_hop = &l->hops[l->hop_count++];
    memset(*ret_hop, 0, sizeof(**ret_hop));
    return OK;
}

static bool is_gateway(const struct ledger *l, const char *id)
{
    for (size_t i = 0; i < l->gateway_count; i++) {
        if (strcmp(l->gateways[i], id) == 0) {
            return true;
        }
    }
    return false;
}

static enum err note_gateway(struct ledger *l, const char *id)
{
    void *gateways = l->gateways;
    if (is_gateway(l, id) || id[0] == '\0') {
        return OK;
    }
    TRY(grow(&gateways, l->gateway_count, &l->gateway_cap, sizeof(*l->gateways)));
    l->gateways = gateways;
    snprintf(l->gateways[l->gateway_count++], sizeof(*l->gateways), "%s", id);
    return OK;
}

/* ---- reading documents ---- */
/* 16 hexadecimal digits; 0 is a lane that does not exist yet. */
static bool doc_epoch(const cJSON *stream, uint64_t *ret_epoch)
{
    const char *text = doc_text(stream, "epoch");
    uint64_t epoch = 0;
    for (const char *c = text; *c != '\0'; c++) {
        unsigned digit = *c >= '0' && *c <= '9' ? (unsigned)(*c - '0')
                         : *c >= 'a' && *c <= 'f' ? (unsigned)(*c - 'a') + 10 : 16;
        if (digit > 15) {
            return false;
        }
        epoch = epoch << 4 | digit;
    }
    *ret_epoch = epoch;
    return strlen(text) == 16;
}

/* One stream of any tier as a row of its own; rows of the same stream are put together when the ledger is closed. */
static bool parse_stream(const cJSON *s, unsigned tier, struct ledger_row *row)
{
    const char *device = doc_text(s, "device");
    *row = (struct ledger_row){.seen = tier, .lane = doc_u64_or_0(s, "lane")};
    snprintf(row->device, sizeof(row->device), "%s", device);
    if (!id_valid(slice_str(device)) || !doc_epoch(s, &row->epoch)) {
        return false;
    }
    switch (tier) {
    case TIER_DEVICE: return doc_u64(s, "durable", &row->device_durable);
    case TIER_GATEWAY:
        row->gateway_top = doc_u64_or_0(s, "top");
        row->closed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(s, "closed"));
        return doc_u64(s, "hwm", &row->gateway_hwm);
    default:
        row->sink_top = doc_u64_or_0(s, "top");
        row->readings = doc_u64_or_0(s, "readings");
        row->hop = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(s, "hop"));
        return doc_u64(s, "hwm", &row->sink_hwm) && doc_u64(s, "records", &row->records) &&
               doc_u64(s, "gaps", &row->gaps) && doc_u64(s, "suppressed", &row->suppressed);
    }
}

static enum err add_streams(struct ledger *l, const cJSON *doc, unsigned tier, struct fault *reterr)
{
    const cJSON *streams = cJSON_GetObjectItemCaseSensitive(doc, "streams"), *s;
    if (!cJSON_IsArray(streams)) {
        return fault_set(reterr, ERR_MALFORMED, "the ledger has no streams");
    }
    cJSON_ArrayForEach(s, streams)
    {
        struct ledger_row parsed, *row;
        if (!parse_stream(s, tier, &parsed)) {
            return fault_set(reterr, ERR_MALFORMED, "a stream of the ledger does not parse");
        }
        if (parsed.epoch == 0) {
            continue;
        }
        if (parsed.hop) {
            TRY(note_gateway(l, parsed.device));
        }
        TRY(add_row(l, &row));
        *row = parsed;
    }
    return OK;
}

/* The sending end ("uplink" of a gateway) and the receiving one ("intake" of the bridge). */
static enum err add_hops(struct ledger *l, const cJSON *doc, const char *member, struct fault *reterr)
{
    const cJSON *item;
    bool receiver = strcmp(member, "intake") == 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(doc, member))
    {
        struct ledger_hop parsed = {.has_sender = !receiver, .has_receiver = receiver}, *hop;
        const char *gateway = receiver ? doc_text(item, "gateway") : doc_text(doc, "id");
        bool good = doc_epoch(item, &parsed.epoch) && id_valid(slice_str(gateway)) &&
                    (receiver ? doc_u64(item, "hwm", &parsed.hwm) : doc_u64(item, "durable", &parsed.durable));
        if (!good) {
            return fault_set(reterr, ERR_MALFORMED, "the ledger's %s does not parse", member);
        }
        parsed.lane = doc_u64_or_0(item, "lane");
        parsed.acked = doc_u64_or_0(item, "acked");
        snprintf(parsed.gateway, sizeof(parsed.gateway), "%s", gateway);
        TRY(note_gateway(l, gateway));
        if (parsed.epoch != 0) {
            TRY(add_hop(l, &hop));
            *hop = parsed;
        }
    }
    return OK;
}

enum err ledger_add(struct ledger *l, const cJSON *doc, struct fault *reterr)
{
    unsigned tier = doc_is(doc, "device")    ? TIER_DEVICE
                    : doc_is(doc, "gateway") ? TIER_GATEWAY
                    : doc_is(doc, "bridge")  ? TIER_BRIDGE : 0;
    if (tier == 0) {
        return fault_set(reterr, ERR_MALFORMED, "the ledger is neither a device's, a gateway's nor a bridge's");
    }
    size_t rows = l->count, hops = l->hop_count;
    enum err err = tier == TIER_GATEWAY ? note_gateway(l, doc_text(doc, "id")) : OK;
    err = err == OK ? add_streams(l, doc, tier, reterr) : err;
    err = err == OK ? add_hops(l, doc, "uplink", reterr) : err;
    err = err == OK ? add_hops(l, doc, "intake", reterr) : err;
    if (err != OK) {
        l->count = rows;
        l->hop_count = hops;
        return err;
    }
    l->tiers |= tier;
    return OK;
}

/* ---- joining ---- */
static int by_stream(const void *a, const void *b)
{
    const struct ledger_row *x = a, *y = b;
    int order = strcmp(x->device, y->device);
    if (order == 0) {
        order = x->lane != y->lane ? (x->lane < y->lane ? -1 : 1) : 0;
    }
    return order != 0 ? order : (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

/* The same stream at two gateways (it has moved) or two bridges: the farther one is in force. */
static void merge_row(struct ledger_row *into, const struct ledger_row *from)
{
    if ((from->seen & TIER_BRIDGE) != 0 && ((into->seen & TIER_BRIDGE) == 0 || from->sink_hwm > into->sink_hwm)) {
        into->sink_hwm = from->sink_hwm;
        into->sink_top = from->sink_top;
        into->records = from->records;
        into->readings = from->readings;
        into->gaps = from->gaps;
        into->suppressed = from->suppressed;
    }
    into->device_durable = max_u64(into->device_durable, from->device_durable);
    into->gateway_top = max_u64(into->gateway_top, from->gateway_top);
    into->gateway_hwm = max_u64(into->gateway_hwm, from->gateway_hwm);
    into->closed = into->closed || from->closed;
    into->hop = into->hop || from->hop;
    into->seen |= from->seen;
}

static void join_rows(struct ledger *l)
{
    size_t kept = 0;
    if (l->count > 1) {
        qsort(l->rows, l->count, sizeof(*l->rows), by_stream);
    }
    for (size_t i = 0; i < l->count; i++) {
        if (kept > 0 && by_stream(&l->rows[kept - 1], &l->rows[i]) == 0) {
            merge_row(&l->rows[kept - 1], &l->rows[i]);
        } else {
            l->rows[kept++] = l->rows[i];
        }
    }
    l->count = kept;
}

/* A parent gateway's books have its children as devices: what it has of them is the receiving end of their hop. */
static void rows_to_hops(struct ledger *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct ledger_row *row = &l->rows[i];
        bool hop = row->hop || is_gateway(l, row->device);
        bool wanted = l->device == NULL || strcmp(l->device, row->device) == 0;
        struct ledger_hop *added;
        if (hop && (row->seen & TIER_GATEWAY) != 0 && add_hop(l, &added) == OK) {
            *added = (struct ledger_hop){
                .epoch = row->epoch, .lane = row->lane, .has_receiver = true, .hwm = row->gateway_hwm};
            memcpy(added->gateway, row->device, sizeof(added->gateway));
        }
        if (!hop && wanted) {
            l->rows[kept++] = *row;
        }
    }
    l->count = kept;
}

static int by_hop(const void *a, const void *b)
{
    const struct ledger_hop *x = a, *y = b;
    int order = strcmp(x->gateway, y->gateway);
    if (order == 0) {
        order = x->lane != y->lane ? (x->lane < y->lane ? -1 : 1) : 0;
    }
    return order != 0 ? order : (x->epoch > y->epoch) - (x->epoch < y->epoch);
}

static void join_hops(struct ledger *l)
{
    size_t kept = 0;
    if (l->hop_count > 1) {
        qsort(l->hops, l->hop_count, sizeof(*l->hops), by_hop);
    }
    for (size_t i = 0; i < l->hop_count; i++) {
        struct ledger_hop *before = kept > 0 ? &l->hops[kept - 1] : NULL, *hop = &l->hops[i];
        if (before != NULL && by_hop(before, hop) == 0) {
            before->durable = max_u64(before->durable, hop->durable);
            before->acked = max_u64(before->acked, hop->acked);
            before->hwm = max_u64(before->hwm, hop->hwm);
            before->has_sender = before->has_sender || hop->has_sender;
            before->has_receiver = before->has_receiver || hop->has_receiver;
        } else {
            l->hops[kept++] = *hop;
        }
    }
    l->hop_count = l->device == NULL ? kept : 0;
}

/* ---- judging ---- */
static void judge_row(const struct ledger *l, struct ledger_row *row)
{
    bool device = (row->seen & TIER_DEVICE) != 0, gateway = (row->seen & TIER_GATEWAY) != 0;
    uint64_t accounted = row->records + row->gaps + row->suppressed, hwm = row->sink_hwm;
    row->read = device ? row->device_durable : gateway ? row->gateway_top : max_u64(row->sink_top, hwm);
    /* Of a closed stream nothing comes any more but what the gateway has. */
    uint64_t coming = row->closed && gateway ? row->gateway_hwm : row->read;
    row->in_flight = coming > hwm ? coming - hwm : 0;
    char *text = row->verdict;
    const size_t size = sizeof(row->verdict);
    if ((l->tiers & TIER_BRIDGE) == 0) {
        snprintf(text, size, "no bridge answered");
    } else if (accounted < hwm) {
        snprintf(text, size, "%" PRIu64 " of the sink's %" PRIu64 " unaccounted for", hwm - accounted, hwm);
    } else if (accounted > hwm) {
        snprintf(text, size, "%" PRIu64 " more accounted for than the sink's %" PRIu64, accounted - hwm, hwm);
    } else if (gateway && hwm > row->gateway_hwm) {
        snprintf(text, size, "sink %" PRIu64 " is ahead of the gateway's %" PRIu64, hwm, row->gateway_hwm);
    } else if (gateway && row->gateway_hwm > row->read) {
        snprintf(text, size, "gateway %" PRIu64 " is ahead of the device's %" PRIu64, row->gateway_hwm, row->read);
    } else if (hwm > row->read) {
        snprintf(text, size, "sink %" PRIu64 " is ahead of the device's %" PRIu64, hwm, row->read);
    } else {
        row->balanced = true;
        snprintf(text, size, row->closed ? "balanced, closed" : "balanced");
    }
}

static void judge_hop(struct ledger_hop *hop)
{
    hop->balanced = !hop->has_sender || !hop->has_receiver || hop->hwm <= hop->durable;
    if (!hop->balanced) {
        snprintf(hop->verdict, sizeof(hop->verdict), "parent %" PRIu64 " is ahead of the gateway's %" PRIu64, hop->hwm,
                 hop->durable);
        return;
    }
    bool nothing_there = !hop->has_receiver && hop->durable > 0;
    const char *text = nothing_there ? "nothing known at the parent" : "balanced";
    snprintf(hop->verdict, sizeof(hop->verdict), "%s", hop->has_sender ? text : "the gateway did not answer");
}

static void add_to_total(struct ledger_row *total, const struct ledger_row *row)
{
    total->read += row->read;
    total->gateway_hwm += row->gateway_hwm;
    total->sink_hwm += row->sink_hwm;
    total->records += row->records;
    total->readings += row->readings;
    total->gaps += row->gaps;
    total->suppressed += row->suppressed;
    total->in_flight += row->in_flight;
}

void ledger_close(struct ledger *l)
{
    join_rows(l);
    rows_to_hops(l);
    join_hops(l);
    l->unbalanced = 0;
    for (size_t i = 0; i < l->count; i++) {
        judge_row(l, &l->rows[i]);
        add_to_total(&l->total, &l->rows[i]);
        l->unbalanced += !l->rows[i].balanced;
    }
    for (size_t i = 0; i < l->hop_count; i++) {
        judge_hop(&l->hops[i]);
        l->unbalanced += !l->hops[i].balanced;
    }
    l->total.seen = l->tiers;
    l->total.balanced = l->unbalanced == 0 && (l->tiers & TIER_BRIDGE) != 0;
    if (l->total.balanced) {
        snprintf(l->total.verdict, sizeof(l->total.verdict), "balanced");
    } else if (l->unbalanced == 0) {
        snprintf(l->total.verdict, sizeof(l->total.verdict), "no bridge answered");
    } else {
        snprintf(l->total.verdict, sizeof(l->total.verdict), "%zu of %zu not balanced", l->unbalanced,
                 l->count + l->hop_count);
    }
}

enum exit_code ledger_exit(const struct ledger *l, bool settled)
{
    if (l->device != NULL && l->count == 0) {
        return EXIT_NOT_FOUND;
    }
    return !l->total.balanced || (settled && l->total.in_flight > 0) ? EXIT_DEGRADED : EXIT_OK;
}

/* ---- order ---- */
static bool has_stream_of(const cJSON *doc, const char *id)
{
    const cJSON *s;
    cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(doc, "streams"))
    {
        if (strcmp(doc_text(s, "device"), id) == 0) {
            return true;
        }
    }
    return false;
}

void ledger_gateway_depths(const struct docs *docs, unsigned *ret_depth)
{
    memset(ret_depth, 0, docs->count * sizeof(*ret_depth));
    bool moved = true;
    for (size_t round = 0; moved && round < docs->count; round++) {
        moved = false;
        for (size_t child = 0; child < docs->count; child++) {
            const char *id = doc_is(docs->items[child].json, "gateway") ? doc_text(docs->items[child].json, "id") : "";
            for (size_t parent = 0; id[0] != '\0' && parent < docs->count; parent++) {
                if (parent != child && doc_is(docs->items[parent].json, "gateway") &&
                    ret_depth[child] <= ret_depth[parent] && has_stream_of(docs->items[parent].json, id)) {
                    ret_depth[child] = ret_depth[parent] + 1;
                    moved = true;
                }
            }
        }
    }
}
