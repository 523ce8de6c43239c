/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser's events tell where a value stands; what is around it is copied. Positions count characters, not bytes.
 *
 *   depth 1, key wanted -> depth 1, value of it -> remembered
 */
#include "core/options/edit.h"

#include <yaml.h>

struct place { /* characters of the text */
    size_t from, to;
    bool found;
};
struct walk {
    const char *key;
    struct fault *reterr;
    size_t depth;
    bool flow;         /* the top level is written { } */
    bool is_value;     /* the next node on the top level is a value */
    bool is_ours;      /* of our key */
    size_t indent;     /* of the top level's keys, in characters */
    struct place ours; /* the value */
    struct place first_key, last_scalar;
};

static enum err unfit(const struct walk *w, size_t line, const char *what)
{
    return fault_set(w->reterr, ERR_UNSUPPORTED, "line %zu: %s: %s", line + 1, w->key, what);
}

static enum err on_scalar(struct walk *w, const yaml_event_t *e)
{
    const yaml_scalar_style_t style = e->data.scalar.style;
    bool block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    if (w->depth != 1) {
        return OK;
    }
    if (!w->is_value) {
        w->is_ours = slice_equal(slice_of(e->data.scalar.value, e->data.scalar.length), slice_str(w->key));
        w->indent = w->first_key.found ? w->indent : e->start_mark.column;
        w->first_key = w->first_key.found ? w->first_key : (struct place){.from = e->start_mark.index, .found = true};
    } else if (w->is_ours && (block || e->data.scalar.anchor != NULL || e->data.scalar.tag != NULL)) {
        return unfit(w, e->start_mark.line, "its value cannot be replaced: write it as a plain number");
    } else if (w->is_ours && w->ours.found) {
        return unfit(w, e->start_mark.line, "stands there twice");
    } else if (w->is_ours) {
        w->ours = (struct place){e->start_mark.index, e->end_mark.index, true};
    } else if (!block) {
        w->last_scalar = (struct place){e->start_mark.index, e->end_mark.index, true};
    }
    w->is_value = !w->is_value;
    return OK;
}

/* A mapping, a sequence or an alias begins as a value of the top level. */
static enum err on_other(struct walk *w, const yaml_event_t *e)
{
    if (w->depth == 1 && !w->is_value) {
        return fault_set(w->reterr, ERR_MALFORMED, "line %zu: a key is no word", e->start_mark.line + 1);
    }
    if (w->depth == 1 && w->is_ours) {
        return unfit(w, e->start_mark.line, "its value cannot be replaced: write it as a plain number");
    }
    w->is_value = w->depth == 1 ? false : w->is_value;
    return OK;
}

static enum err on_event(struct walk *w, const yaml_event_t *e)
{
    switch ((int)e->type) {
    case YAML_SCALAR_EVENT:
        return w->depth == 0 ? fault_set(w->reterr, ERR_MALFORMED, "the text has no keys") : on_scalar(w, e);
    case YAML_ALIAS_EVENT:
        return on_other(w, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (w->depth == 0 && e->type == YAML_SEQUENCE_START_EVENT) {
            return fault_set(w->reterr, ERR_MALFORMED, "the text has no keys");
        }
        if (w->depth == 0) {
            w->flow = e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
        } else {
            TRY(on_other(w, e));
        }
        w->depth++;
        return OK;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        w->depth--;
        return OK;
    default:
        return OK;
    }
}

static enum err walk_text(struct walk *w, struct slice text)
{
    yaml_parser_t parser;
    yaml_event_t event;
    enum err err = OK;
    if (!yaml_parser_initialize(&parser)) {
        return fault_set(w->reterr, ERR_NOMEM, "out of memory");
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    for (bool end = false; !end && err == OK;) {
        if (!yaml_parser_parse(&parser, &event)) {
            err = fault_set(w->reterr, ERR_MALFORMED, "line %zu: %s", parser.problem_mark.line + 1,
                            parser.problem != NULL ? parser.problem : "no YAML");
            break;
        }
        end = event.type == YAML_DOCUMENT_END_EVENT || event.type == YAML_STREAM_END_EVENT;
        err = on_event(w, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return err;
}

/* Byte of a character. */
static size_t byte_of(struct slice text, size_t character)
{
    size_t at = 0;
    for (; character > 0 && at < text.len; character--) {
        size_t len = utf8_length(slice_of(text.ptr + at, text.len - at));
        at += len > 0 ? len : 1;
    }
    return at;
}

/* The byte behind the line in which `at` stands; *ret_ended: it had an end. */
static size_t line_end(struct slice text, size_t at, bool *ret_ended)
{
    while (at < text.len && text.ptr[at] != '\n') {
        at++;
    }
    *ret_ended = at < text.len;
    return at + *ret_ended;
}

static void put_new(const struct walk *w, struct slice text, const char *value, struct buffer *out)
{
    bool ended = true;
    size_t at = byte_of(text, w->flow ? w->first_key.from : w->last_scalar.to);
    at = w->flow ? at : line_end(text, at, &ended);
    buffer_put(out, text.ptr, at);
    if (w->flow) {
        buffer_printf(out, "%s: %s, ", w->key, value);
    } else {
        buffer_printf(out, "%s%*s%s: %s%s", ended ? "" : "\n", (int)w->indent, "", w->key, value, ended ? "\n" : "");
    }
    buffer_put(out, text.ptr + at, text.len - at);
}

enum err options_edit(struct slice text, const char *key, const char *value, struct buffer *out, struct fault *reterr)
{
    struct walk w = {.key = key, .reterr = reterr};
    struct slice mark = slice_of("\xef\xbb\xbf", 3); /* the byte order mark is no character of the text */
    bool marked = text.len >= 3 && slice_equal(slice_of(text.ptr, 3), mark);
    if (text.len >= 2 && (text.ptr[0] ^ text.ptr[1]) == 1 && (text.ptr[0] & text.ptr[1]) == 0xfe) {
        return fault_set(reterr, ERR_UNSUPPORTED, "the text is UTF-16; write it as UTF-8");
    }
    text = marked ? slice_of(text.ptr + 3, text.len - 3) : text;
    TRY(walk_text(&w, text));
    if (!w.ours.found && !(w.flow ? w.first_key.found : w.last_scalar.found)) {
        return fault_set(reterr, ERR_MALFORMED, "the text has no keys");
    }
    buffer_put_slice(out, marked ? mark : slice_of("", 0));
    if (!w.ours.found) {
        put_new(&w, text, value, out);
        return buffer_err(out);
    }
    size_t from = byte_of(text, w.ours.from), to = byte_of(text, w.ours.to);
    buffer_put(out, text.ptr, from);
    buffer_printf(out, "%s%s", from == to && from > 0 && text.ptr[from - 1] == ':' ? " " : "", value);
    buffer_put(out, text.ptr + to, text.len - to);
    return buffer_err(out);
}
