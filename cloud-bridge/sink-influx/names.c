/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reading's line needs the name of its channel, which came with a description perhaps months ago. Names are a part
 * of the series: a reading that is posted again must get the same ones, also after a start. So they are kept in a file:
 *
 *   device TAB set (hexadecimal) TAB crc32c of the rest (hexadecimal) { TAB name TAB unit } NEWLINE
 *
 * in which tabs, newlines and backslashes of a text stand as \t, \n and \\. Lines are only added.
 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->count = SIZE_MAX)

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"
#include "core/crypt/crypt.h"

enum { ENTRIES_MAX = 200000, ROW_MAX = 64 * 1024 };

struct key {
    char device[ID_MAX + 1 + 3]; /* zero-filled: hashed as bytes */
    uint32_t set;
};
_Static_assert(sizeof(struct key) == ID_MAX + 8, "the key is hashed as bytes: no padding");
struct entry {
    struct key key;
    size_t count;
    char **texts; /* owned; name, unit, name, unit, ... */
    UT_hash_handle hh;
};
struct names {
    struct entry *table;
    FILE *file;
    bool dirty;
    char path[512];
};

static void entry_free(struct entry *e)
{
    for (size_t i = 0; e->texts != NULL && i < 2 * e->count; i++) {
        free(e->texts[i]);
    }
    free(e->texts);
    free(e);
}

static struct key key_of(const char *device, uint32_t set)
{
    struct key key;
    memset(&key, 0, sizeof(key));
    snprintf(key.device, sizeof(key.device), "%.*s", ID_MAX, device);
    key.set = set;
    return key;
}

static struct entry *find(const struct names *n, const char *device, uint32_t set)
{
    struct key key = key_of(device, set);
    struct entry *e = NULL;
    HASH_FIND(hh, n->table, &key, sizeof(key), e);
    return e;
}

/* texts is taken in any case. */
static enum err add(struct names *n, const char *device, uint32_t set, char **texts, size_t count)
{
    struct entry *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        for (size_t i = 0; i < 2 * count; i++) {
            free(texts[i]);
        }
        free(texts);
        return ERR_NOMEM;
    }
    *e = (struct entry){.key = key_of(device, set), .texts = texts, .count = count};
    HASH_ADD(hh, n->table, key, sizeof(e->key), e);
    if (e->count == SIZE_MAX) {
        e->count = count;
        entry_free(e);
        return ERR_NOMEM;
    }
    return OK;
}

/* ---- the file ---- */
static void put_text(struct buffer *b, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\t':
            buffer_put_str(b, "\\t");
            break;
        case '\n':
            buffer_put_str(b, "\\n");
            break;
        case '\\':
            buffer_put_str(b, "\\\\");
            break;
        default:
            buffer_put_u8(b, (uint8_t)*text);
        }
    }
}

static char *get_text(const char *from, size_t len)
{
    char *text = malloc(len + 1), *at = text;
    for (size_t i = 0; text != NULL && i < len; i++) {
        char c = from[i];
        if (c == '\\' && i + 1 < len) {
            i++;
            c = from[i] == 't' ? '\t' : from[i] == 'n' ? '\n' : from[i];
        }
        *at++ = c;
    }
    if (text != NULL) {
        *at = '\0';
    }
    return text;
}

/* "a TAB b TAB c" -> their number. */
static size_t fields(const char *text)
{
    size_t count = *text != '\0';
    for (; *text != '\0'; text++) {
        count += *text == '\t';
    }
    return count;
}

/* False: torn or damaged. */
static bool load_line(struct names *n, char *line)
{
    char device[ID_MAX + 1];
    uint32_t set, crc;
    int at = -1;
    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%64[A-Za-z0-9_-]\t%8" SCNx32 "\t%8" SCNx32 "%n", device, &set, &crc, &at) != 3 || at < 0 ||
        (line[at] != '\0' && line[at] != '\t')) {
        return false;
    }
    const char *rest = line[at] == '\t' ? line + at + 1 : "";
    size_t count = line[at] == '\t' ? max_u64(fields(rest), 1) : 0;
    if (crypt_crc32c(0, rest, strlen(rest)) != crc || count % 2 != 0 || count > 2 * BLOCK_CHANNELS_MAX ||
        find(n, device, set) != NULL) {
        return false;
    }
    char **texts = calloc(count + 1, sizeof(*texts));
    for (size_t i = 0; texts != NULL && i < count; i++) {
        size_t len = strcspn(rest, "\t");
        texts[i] = get_text(rest, len);
        rest += len + (rest[len] == '\t');
    }
    return texts != NULL && add(n, device, set, texts, count / 2) == OK;
}

static enum err load(struct names *n, struct fault *reterr)
{
    CLEANUP(charp_freep) char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    long end = 0;
    bool torn = false;
    while ((len = getline(&line, &cap, n->file)) > 0) {
        torn = line[len - 1] != '\n';
        if (!torn) {
            (void)load_line(n, line); /* what is damaged is not known; the device describes itself again */
            end += len;
        }
    }
    if (ferror(n->file) || (torn && ftruncate(fileno(n->file), end) != 0) || fseek(n->file, 0, SEEK_END) != 0) {
        return fault_set(reterr, ERR_IO, "%s: %s", n->path, strerror(errno));
    }
    return OK;
}

enum err names_open(const char *path, struct names **ret_names, struct fault *reterr)
{
    struct names *n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    snprintf(n->path, sizeof(n->path), "%s", path);
    n->file = fopen(path, "a+e");
    enum err err = n->file != NULL ? load(n, reterr) : fault_set(reterr, ERR_IO, "%s: %s", path, strerror(errno));
    if (err != OK) {
        names_free(n);
        return err;
    }
    *ret_names = n;
    return OK;
}

void names_free(struct names *n)
{
    if (n == NULL) {
        return;
    }
    for (struct entry *e = n->table, *next; e != NULL; e = next) {
        next = e->hh.next;
        HASH_DEL(n->table, e);
        entry_free(e);
    }
    if (n->file != NULL) {
        fclose(n->file);
    }
    free(n);
}

enum err names_learn(struct names *n, const char *device, const Weir__V1__Describe *d)
{
    if (find(n, device, d->set) != NULL) {
        return OK; /* a set is a hash over what is described: the same set is the same description */
    }
    if (HASH_COUNT(n->table) >= ENTRIES_MAX || d->n_channel > BLOCK_CHANNELS_MAX) {
        return ERR_FULL;
    }
    BUFFER(rest, ROW_MAX);
    char **texts = calloc(2 * d->n_channel + 1, sizeof(*texts));
    bool good = texts != NULL;
    for (size_t i = 0; good && i < d->n_channel; i++) {
        buffer_put_str(&rest, i ? "\t" : "");
        put_text(&rest, d->channel[i]->name);
        buffer_put_str(&rest, "\t");
        put_text(&rest, d->channel[i]->unit);
        texts[2 * i] = strdup(d->channel[i]->name);
        texts[2 * i + 1] = strdup(d->channel[i]->unit);
        good = texts[2 * i] != NULL && texts[2 * i + 1] != NULL;
    }
    if (!good || buffer_err(&rest) != OK) {
        for (size_t i = 0; texts != NULL && i < 2 * d->n_channel; i++) {
            free(texts[i]);
        }
        free(texts);
        return ERR_NOMEM;
    }
    fprintf(n->file, "%s\t%08" PRIx32 "\t%08" PRIx32 "%s%.*s\n", device, d->set, crypt_crc32c(0, rest.ptr, rest.len),
            d->n_channel > 0 ? "\t" : "", (int)rest.len, rest.ptr ? (const char *)rest.ptr : "");
    n->dirty = true;
    return add(n, device, d->set, texts, d->n_channel);
}

enum err names_sync(struct names *n)
{
    if (!n->dirty) {
        return OK;
    }
    if (fflush(n->file) != 0 || ferror(n->file) || fdatasync(fileno(n->file)) != 0) {
        clearerr(n->file);
        return ERR_IO;
    }
    n->dirty = false;
    return OK;
}

bool names_find(const struct names *n, const char *device, uint32_t set, unsigned channel, const char **ret_name,
                const char **ret_unit)
{
    const struct entry *e = find(n, device, set);
    if (e == NULL || channel >= e->count) {
        return false;
    }
    *ret_name = e->texts[2 * channel];
    *ret_unit = e->texts[2 * channel + 1];
    return true;
}
