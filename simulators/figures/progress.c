/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - how far a run is. On a terminal one line is written over and over; elsewhere (a file, a pipe, CI) whole
 * lines now and then, so that a log stays readable.
 */
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "simulators/figures/figures_internal.h"

#define REWRITE_US (SECOND_US / 4)
#define LINES_US (5 * SECOND_US)
enum { PART_MAX = 80, LINE_MAX_BYTES = 400, WIDTH_PRESET = 80 };

struct part {
    char text[PART_MAX];
    unsigned rank; /* 0 = matters most */
    bool left_away;
};
struct parts {
    struct part items[12];
    size_t count;
};

static void add(struct parts *parts, unsigned rank, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct parts *parts, unsigned rank, const char *fmt, ...)
{
    struct part *part = &parts->items[parts->count++];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(part->text, sizeof(part->text), fmt, args);
    va_end(args);
    part->rank = rank;
    part->left_away = false;
}

static void add_latency(struct parts *parts, unsigned rank, const char *name, int64_t value_us)
{
    char text[FIGURES_SHORT];
    if (value_us >= 0) {
        add(parts, rank, "%s %s", name, figures_show_duration(value_us, text));
    }
}

static size_t length_of(const struct parts *parts)
{
    size_t length = 0;
    for (size_t i = 0; i < parts->count; i++) {
        if (!parts->items[i].left_away) {
            length += strlen(parts->items[i].text) + (length > 0 ? 2 : 0);
        }
    }
    return length;
}

static void leave_away_least(struct parts *parts)
{
    struct part *least = NULL;
    for (size_t i = 0; i < parts->count; i++) {
        struct part *part = &parts->items[i];
        if (!part->left_away && (least == NULL || part->rank > least->rank)) {
            least = part;
        }
    }
    if (least != NULL && least->rank > 0) {
        least->left_away = true;
    }
}

static void gather(const struct progress_state *s, struct parts *parts)
{
    char a[FIGURES_SHORT], b[FIGURES_SHORT];
    add(parts, 0, "%s %s", s->phase, figures_show_time((double)s->elapsed_us / 1e6, a));
    if (s->total_us > 0) {
        int64_t left_us = max_i64(s->total_us - s->elapsed_us, 0);
        add(parts, 2, "ETA %s", figures_show_time((double)left_us / 1e6, a));
    }
    if (s->wanted > 0) {
        add(parts, 4, "%s/%s up", figures_show_count((double)s->connected, a),
            figures_show_count((double)s->wanted, b));
    }
    add(parts, 1, "%s %s", figures_show_count(s->rate < 10 ? s->rate : (double)(int64_t)(s->rate + 0.5), a),
        s->rate_unit != NULL ? s->rate_unit : "/s");
    add_latency(parts, 6, "p50", s->p50_us);
    add_latency(parts, 5, "p99", s->p99_us);
    add_latency(parts, 7, "p99.9", s->p999_us);
    if (s->trouble > 0) {
        add(parts, 3, "%s %.40s", figures_show_count((double)s->trouble, a),
            s->trouble_name != NULL ? s->trouble_name : "failed");
    }
}

size_t progress_format(const struct progress_state *state, unsigned width, char *out, size_t size)
{
    struct parts parts = {.count = 0};
    size_t bound = size - 1;
    gather(state, &parts);
    if (width > 0 && width < bound) {
        bound = width;
    }
    for (size_t i = 0; i < parts.count && length_of(&parts) > bound; i++) {
        leave_away_least(&parts);
    }
    size_t len = 0;
    for (size_t i = 0; i < parts.count && len < bound; i++) {
        if (!parts.items[i].left_away) {
            int put = snprintf(out + len, bound - len + 1, "%s%s", len > 0 ? "  " : "", parts.items[i].text);
            len += min_u64((uint64_t)put, bound - len);
        }
    }
    out[len] = '\0';
    return len;
}

/* ---- driver ---- */
static bool can_rewrite(FILE *to)
{
    const char *terminal = getenv("TERM");
    return isatty(fileno(to)) == 1 && terminal != NULL && strcmp(terminal, "dumb") != 0;
}

void progress_init(struct progress *p, FILE *to, enum progress_mode mode)
{
    *p = (struct progress){.to = to, .off = mode == PROGRESS_OFF, .rewrite = mode == PROGRESS_AUTO && can_rewrite(to)};
}

static unsigned terminal_width(FILE *to)
{
    struct winsize size;
    return ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : WIDTH_PRESET;
}

void progress_show(struct progress *p, int64_t now_us, const struct progress_state *state)
{
    char line[LINE_MAX_BYTES];
    if (p->off || now_us < p->next_us) {
        return;
    }
    p->next_us = now_us + (p->rewrite ? REWRITE_US : LINES_US);
    /* The last column stays free: some terminals begin a new line there. */
    (void)progress_format(state, p->rewrite ? terminal_width(p->to) - 1 : 0, line, sizeof(line));
    (void)fprintf(p->to, p->rewrite ? "\r%s\033[K" : "%s\n", line);
    (void)fflush(p->to);
    p->open = p->rewrite;
}

void progress_clear(struct progress *p)
{
    if (p->open) {
        (void)fputs("\r\033[K", p->to);
        (void)fflush(p->to);
        p->open = false;
    }
}
