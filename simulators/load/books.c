/* SPDX-License-Identifier: Apache-2.0 */
#include "simulators/load/books.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct side { /* the gateway's of one lane */
    uint64_t hwm, gaps;
    bool known;
};
struct comparison {
    const struct books_device *devices;
    size_t count;
    const char *prefix;
    size_t prefix_len;
    struct side (*sides)[BOOKS_LANES]; /* owned */
    struct books_account *account;
    struct buffer *complaints;
    unsigned told;
    const struct books_known *before;
};

static void free_sides(struct comparison *c)
{
    free(c->sides);
}

static void free_tree(cJSON **tree)
{
    cJSON_Delete(*tree);
}

static uint64_t without(uint64_t all, uint64_t part)
{
    return all - min_u64(all, part);
}

void books_count(const struct books_device *devices, size_t count, struct books_account *ret_account)
{
    *ret_account = (struct books_account){0};
    for (size_t i = 0; i < count; i++) {
        for (unsigned l = 0; l < BOOKS_LANES; l++) {
            const struct books_lane *lane = &devices[i].lane[l];
            ret_account->durable += lane->durable;
            uint64_t waiting = lane->durable > lane->acked ? lane->durable - lane->acked : 0;
            ret_account->acked += without(lane->acked, without(lane->gaps, lane->gaps_waiting));
            ret_account->waiting += without(waiting, lane->gaps_waiting);
            ret_account->gaps += lane->gaps;
            ret_account->gaps_acked += without(lane->gaps, lane->gaps_waiting);
        }
    }
}

/* Number of the device, SIZE_MAX when the name is none of ours. */
static size_t device_of(const struct comparison *c, const char *name)
{
    if (strncmp(name, c->prefix, c->prefix_len) != 0 || name[c->prefix_len] != '-') {
        return SIZE_MAX;
    }
    const char *digits = name + c->prefix_len + 1;
    char *end;
    unsigned long long number = digits[0] >= '1' && digits[0] <= '9' ? strtoull(digits, &end, 10) : 0;
    return number >= 1 && number <= c->count && *end == '\0' ? (size_t)number - 1 : SIZE_MAX;
}

static bool number_of(const cJSON *item, const char *key, uint64_t *ret_value)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    if (!cJSON_IsNumber(value) || value->valuedouble < 0) {
        return false;
    }
    *ret_value = (uint64_t)value->valuedouble; /* record numbers of a run stay far below 2^53 */
    return true;
}

/* 64 bits in place of name, epoch, lane and high-water mark. The mark is in it because a forger takes the same epochs in
 * every run with the same seed: a stream that has moved since is news. */
static uint64_t stream_key(const char *name, uint64_t epoch, uint64_t lane, uint64_t hwm)
{
    uint64_t key = mix_u64(mix_u64(epoch) + hwm) + lane;
    for (; *name != '\0'; name++) {
        key = mix_u64(key ^ (unsigned char)*name);
    }
    return key;
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static bool knows(const struct books_known *known, uint64_t key)
{
    return known != NULL && known->count > 0 &&
           bsearch(&key, known->keys, known->count, sizeof(key), compare_keys) != NULL;
}

static bool add_stream(struct comparison *c, const cJSON *stream)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(stream, "device");
    const cJSON *epoch = cJSON_GetObjectItemCaseSensitive(stream, "epoch");
    uint64_t lane, hwm, gaps;
    if (!cJSON_IsString(name) || !cJSON_IsString(epoch) || !number_of(stream, "lane", &lane) ||
        !number_of(stream, "hwm", &hwm) || !number_of(stream, "gaps", &gaps) || lane >= BOOKS_LANES) {
        return false;
    }
    c->account->streams++;
    size_t device = device_of(c, name->valuestring);
    if (device == SIZE_MAX) {
        return true;
    }
    if (strtoull(epoch->valuestring, NULL, 16) != c->devices[device].lane[lane].epoch) {
        uint64_t key = stream_key(name->valuestring, strtoull(epoch->valuestring, NULL, 16), lane, hwm);
        c->account->strangers += !knows(c->before, key);
        return true;
    }
    c->sides[device][lane] = (struct side){.hwm = hwm, .gaps = gaps, .known = true};
    return true;
}

static void complain(struct comparison *c, size_t device, unsigned lane, const char *what, uint64_t hwm)
{
    const struct books_lane *l = &c->devices[device].lane[lane];
    if (c->told++ < BOOKS_TOLD) {
        buffer_printf(c->complaints,
                      "%s-%zu lane %u: %s (device: durable %" PRIu64 ", acknowledged %" PRIu64 "; gateway: %" PRIu64
                      ")\n",
                      c->prefix, device + 1, lane, what, l->durable, l->acked, hwm);
    }
}

static void judge(struct comparison *c, size_t device, unsigned lane)
{
    const struct books_lane *mine = &c->devices[device].lane[lane];
    const struct side *theirs = &c->sides[device][lane];
    c->account->committed += without(theirs->hwm, theirs->gaps);
    if (mine->acked > theirs->hwm) {
        c->account->lost += mine->acked - theirs->hwm;
        c->account->missing += !theirs->known;
        complain(c, device, lane, theirs->known ? "acknowledged, but not there" : "the gateway knows no such stream",
                 theirs->hwm);
    }
    if (theirs->hwm > mine->durable) {
        c->account->phantom += theirs->hwm - mine->durable;
        complain(c, device, lane, "the gateway has more than the device ever stored", theirs->hwm);
    }
    if (theirs->gaps > mine->gaps) {
        uint64_t undeclared = theirs->gaps - mine->gaps;
        char what[120];
        (void)snprintf(what, sizeof(what),
                       "%" PRIu64 " records stand at the gateway as a gap that the device did not declare: the gateway "
                       "has lost them", undeclared);
        c->account->undeclared += undeclared;
        c->account->lost += undeclared;
        complain(c, device, lane, what, theirs->hwm);
    }
}

enum err books_compare(const struct books_device *devices, size_t count, const char *prefix, struct slice answer,
                        const struct books_known *before, struct books_account *account, struct buffer *complaints)
{
    CLEANUP(free_sides) struct comparison c = {.devices = devices,
                                               .count = count,
                                               .prefix = prefix,
                                               .prefix_len = strlen(prefix),
                                               .before = before,
                                               .account = account,
                                               .complaints = complaints};
    CLEANUP(free_tree) cJSON *tree = cJSON_ParseWithLength((const char *)answer.ptr, answer.len);
    c.sides = calloc(count > 0 ? count : 1, sizeof(*c.sides));
    if (c.sides == NULL) {
        return ERR_NOMEM;
    }
    const cJSON *streams = cJSON_GetObjectItemCaseSensitive(tree, "streams");
    if (!cJSON_IsArray(streams)) {
        return ERR_MALFORMED;
    }
    const cJSON *stream;
    cJSON_ArrayForEach(stream, streams)
    {
        if (!add_stream(&c, stream)) {
            return ERR_MALFORMED;
        }
    }
    for (size_t i = 0; i < count; i++) {
        for (unsigned lane = 0; lane < BOOKS_LANES; lane++) {
            judge(&c, i, lane);
        }
    }
    account->compared = true;
    return OK;
}

void books_known_deinit(struct books_known *known)
{
    free(known->keys);
    *known = (struct books_known){0};
}

enum err books_know(struct slice answer, struct books_known *ret_known)
{
    CLEANUP(free_tree) cJSON *tree = cJSON_ParseWithLength((const char *)answer.ptr, answer.len);
    const cJSON *streams = cJSON_GetObjectItemCaseSensitive(tree, "streams");
    if (!cJSON_IsArray(streams)) {
        return ERR_MALFORMED;
    }
    *ret_known = (struct books_known){.keys = calloc((size_t)cJSON_GetArraySize(streams) + 1, sizeof(uint64_t))};
    if (ret_known->keys == NULL) {
        return ERR_NOMEM;
    }
    const cJSON *stream;
    cJSON_ArrayForEach(stream, streams)
    {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(stream, "device");
        const cJSON *epoch = cJSON_GetObjectItemCaseSensitive(stream, "epoch");
        uint64_t lane, hwm;
        if (!cJSON_IsString(name) || !cJSON_IsString(epoch) || !number_of(stream, "lane", &lane) ||
            !number_of(stream, "hwm", &hwm)) {
            books_known_deinit(ret_known);
            return ERR_MALFORMED;
        }
        ret_known->keys[ret_known->count++] =
            stream_key(name->valuestring, strtoull(epoch->valuestring, NULL, 16), lane, hwm);
    }
    qsort(ret_known->keys, ret_known->count, sizeof(uint64_t), compare_keys);
    return OK;
}

bool books_adds_up(const struct books_account *a)
{
    return a->lost == 0 && a->phantom == 0 && a->undeclared == 0;
}
