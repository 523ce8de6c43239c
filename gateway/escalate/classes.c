/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes by their names: two models of the same thing seldom list them in the same order. An answer goes out as a
 * class of the model that asks.
 */
#include <stdio.h>

#include "gateway/escalate/escalate_internal.h"

enum { SCORE_CLASSES = 2 };

/* Names of a device model's classes; names NULL: it gives a score. */
struct classes {
    const char *const *names;
    size_t count;
};

static const char *class_name(const struct classes *c, size_t i)
{
    static const char *const score[SCORE_CLASSES] = {"normal", "not-normal"};
    return c->names != NULL ? c->names[i] : score[i];
}

static struct classes classes_of(const struct model_info *info)
{
    return info->output == MODEL_CLASSES ? (struct classes){info->classes, info->class_count}
                                         : (struct classes){NULL, SCORE_CLASSES};
}

const char *escalate_label(const struct model_info *info, unsigned class)
{
    struct classes ours = classes_of(info);
    return class < ours.count ? class_name(&ours, class) : NULL;
}

/* The place of the name; ESCALATE_CLASS_UNKNOWN: none. */
static uint16_t find(const struct classes *in, const char *name)
{
    for (size_t i = 0; i < in->count; i++) {
        if (strcmp(class_name(in, i), name) == 0) {
            return (uint16_t)i;
        }
    }
    return ESCALATE_CLASS_UNKNOWN;
}

/* "small.yaml has no class x, y" */
static void note(struct escalate_loaded *l, const char *device, const char *name, bool first)
{
    size_t len = strlen(l->note);
    snprintf(l->note + len, sizeof(l->note) - len, first ? "%s%.120s has no class %s" : "%s%.0s%s",
             !first ? ", " : len > 0 ? "; " : "", device, name);
}

static enum err map(struct escalate_loaded *l, const struct classes *theirs, const char *device,
                    struct escalate_known *k, struct fault *reterr)
{
    struct classes ours = classes_of(model_info(l->model));
    size_t missing = 0;
    k->classes = (unsigned)theirs->count;
    for (size_t i = 0; i < ours.count; i++) {
        k->of[i] = find(theirs, class_name(&ours, i));
        if (k->of[i] == ESCALATE_CLASS_UNKNOWN) {
            note(l, device, class_name(&ours, i), missing++ == 0);
        }
    }
    if (missing == ours.count) {
        return fault_set(reterr, ERR_RANGE, "for: %s has none of this model's classes: %.200s", device, l->note);
    }
    return OK;
}

static void assume(const struct escalate_loaded *l, struct escalate_known *k)
{
    struct classes ours = classes_of(model_info(l->model));
    k->assumed = true;
    k->classes = (unsigned)ours.count;
    for (size_t i = 0; i < ours.count; i++) {
        k->of[i] = (uint16_t)i;
    }
}

enum err escalate_know(const struct escalate_model *m, struct escalate_loaded *l, uint64_t id,
                       const struct model_info *device, struct fault *reterr)
{
    struct escalate_known *k = &l->others;
    if (id != 0 && l->known_count == COUNT_OF(l->known)) {
        return fault_set(reterr, ERR_RANGE, "for: %d device models are the most", ESCALATE_FOR_MAX);
    }
    if (id != 0) {
        k = &l->known[l->known_count++];
    }
    l->any = l->any || id == 0;
    k->id = id;
    if (device != NULL) {
        struct classes theirs = classes_of(device);
        return map(l, &theirs, device->path, k, reterr);
    }
    if (m->class_count == 0) {
        assume(l, k);
        return OK;
    }
    l->note[0] = '\0'; /* each id would say the same */
    return map(l, &(struct classes){m->classes, m->class_count}, "classes", k, reterr);
}

const struct escalate_known *escalate_known_of(const struct escalate_loaded *l, uint64_t id)
{
    for (unsigned i = 0; i < l->known_count; i++) {
        if (l->known[i].id == id) {
            return &l->known[i];
        }
    }
    return l->any ? &l->others : NULL;
}
