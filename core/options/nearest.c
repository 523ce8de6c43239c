/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nearest - which known name did the person mean? Edit distance with transpositions ("prot" is one step from "port"),
 * in the restricted form of optimal string alignment (Damerau 1964).
 *
 * A name with the same last part ("host" for "broker.host") counts as one step. Words over WORD_MAX have no nearest.
 */
#include "core/options/options.h"

enum { WORD_MAX = 64 };

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_len; j++) {
        above[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = min3(above[j] + 1, now[j - 1] + 1, above[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = min3(now[j], before[j - 2] + 1, now[j]);
            }
        }
        unsigned *spare = before;
        before = above;
        above = now;
        now = spare;
    }
    return above[b_len];
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

void options_nearest_offer(struct options_nearest *nearest, const char *name)
{
    size_t word_len = strlen(nearest->word), name_len = strlen(name);
    if (word_len == 0 || word_len > WORD_MAX || name_len > WORD_MAX) {
        return;
    }
    unsigned distance = edit_distance(nearest->word, word_len, name, name_len);
    if (distance > 1 && strcmp(last_part(nearest->word), last_part(name)) == 0) {
        distance = 1;
    }
    unsigned allowed = word_len <= 2 ? 1 : word_len <= 5 ? 2 : 3;
    if (distance > allowed || word_len <= distance) {
        return;
    }
    /* Of two that are equally near, the one that begins alike: a typing mistake seldom hits the first letter. */
    bool tie = nearest->best != NULL && distance == nearest->distance && name[0] == nearest->word[0] &&
               nearest->best[0] != nearest->word[0];
    if (nearest->best == NULL || distance < nearest->distance || tie) {
        nearest->best = name;
        nearest->distance = distance;
    }
}
