/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/trial.h"

#include <stdio.h>

#include "proto/calibration/calibration.h"

/* Those about `for` belong there, the others to the description. */
static void put_refused(void *arg, const char *name, const char *why)
{
    bool about_for = strncmp(why, "for: ", strlen("for: ")) == 0;
    buffer_printf(arg, "escalate.models.%s.%s%s\n", name, about_for ? "" : "model: ", why);
}

static enum err try_models(const struct settings *s, struct buffer *problems)
{
    CLEANUP(settings_escalation_freep) struct settings_escalation *e = NULL;
    struct fault why = {.code = OK};
    TRY(settings_escalation_new(s, options_path(), &e));
    enum err err = escalate_trial(&e->settings, put_refused, problems, &why);
    if (err != OK) {
        buffer_printf(problems, "escalate.models: %s\n", why.text);
    }
    return err;
}

static void try_calibration(const char *name, const char *file, struct buffer *problems)
{
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    BUFFER(found, 64 * 1024);
    if (calibration_load(file, &calibration, &found) == OK) {
        return;
    }
    if (found.len == 0) {
        buffer_printf(problems, "health.calibrations.%s.file: %s cannot be read\n", name, file);
    }
    for (struct slice rest = buffer_slice(&found); rest.len > 0;) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.ptr) : rest.len, skip = len + (end != NULL);
        if (len > 0 && rest.ptr[0] != ' ') { /* not the line itself, which the next one points into */
            buffer_printf(problems, "health.calibrations.%s.file: %.*s\n", name, (int)len, (const char *)rest.ptr);
        }
        rest = slice_of(rest.ptr + skip, rest.len - skip);
    }
}

enum err trial_run(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    const struct settings_calibration *calibrations = s->calibrations.items;
    size_t before = problems->len;
    TRY(try_models(s, problems));
    for (size_t i = 0; i < s->calibrations.count; i++) {
        try_calibration(s->calibrations.names[i], calibrations[i].file, problems);
    }
    return problems->len > before ? ERR_RANGE : OK;
}
