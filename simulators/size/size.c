/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verb: settings -> [measure] -> model -> lines -> words or JSON.
 */
#include "simulators/size/size.h"

#include <stdio.h>

#include "core/log/log.h"
#include "simulators/size/lines.h"
#include "simulators/size/measure.h"
#include "simulators/size/settings.h"

static enum err measure(const struct size_settings *s, struct size_input *in, struct size_constants *c,
                        struct buffer *notes, struct fault *reterr)
{
    struct size_answer a;
    TRY(measure_records(s, in, notes, reterr));
    size_compute(in, c, &a);
    TRY(measure_store(s, a.block_bytes, c, notes, reterr));
    return measure_programs(s, c, notes, reterr);
}

static int answer(const struct size_settings *s)
{
    struct size_input in;
    struct size_constants c;
    struct size_answer a;
    struct lines lines;
    struct fault fault = {.text = ""};
    BUFFER(notes, 16 * 1024);
    BUFFER(out, 256 * 1024);
    size_presets(s, &c);
    size_input_of(s, &in);
    enum err err = s->measure ? measure(s, &in, &c, &notes, &fault) : OK;
    if (err != OK) {
        (void)fprintf(stderr, "weir-fleet size: --measure: %s\n", fault.text[0] != '\0' ? fault.text : err_name(err));
        return 1;
    }
    size_compute(&in, &c, &a);
    lines_fill(&in, &c, &a, &lines);
    if (s->json) {
        lines_json(&lines, &c, &a, buffer_slice(&notes), &out);
    } else {
        lines_words(&lines, &c, buffer_slice(&notes), &out);
    }
    bool written = buffer_err(&out) == OK && fwrite(out.ptr, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    return written ? 0 : 1;
}

int size_main(int argc, char **argv)
{
    struct size_settings s = {0};
    switch (options_main(&size_program, argc, argv, &s)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_BAD:
        return 2;
    }
    log_setup(argv[0], LOG_ERROR);
    int code = answer(&s);
    options_free(&size_program, &s);
    return code;
}
