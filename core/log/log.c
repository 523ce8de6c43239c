/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log - the sink: level, rate limit, one write(2) a line.
 *
 * The one static of the program. `lowest`, `program` and `journal` are set before threads exist; the list of silenced
 * sites and every site's counters are guarded by `lock`. The clocks are read here and not through a loop, because a
 * line may be written before a loop exists and from threads that have none; no decision but the rate limit rests on it.
 */
#include "core/log/line.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *program;
    enum log_level lowest;
    bool journal;
    bool muted;
    bool flushed_at_exit;
    pthread_mutex_t lock;
    struct log_site *silenced; /* sites with suppressed > 0 */
} sink = {.program = "weir", .lowest = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

static const struct {
    const char *name;
    int priority; /* syslog(3) */
} levels[] = {
    [LOG_ERROR] = {"error", 3},
    [LOG_WARN] = {"warn", 4},
    [LOG_INFO] = {"info", 6},
    [LOG_DEBUG] = {"debug", 7},
};

static int64_t clock_us(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
}

static void emit(struct line *l)
{
    struct slice rest = line_end(l);
    while (rest.len > 0) {
        ssize_t n = write(STDERR_FILENO, rest.ptr, rest.len);
        if (n < 0 && errno != EINTR) {
            return; /* nobody to tell */
        }
        size_t gone = n > 0 ? (size_t)n : 0;
        rest = slice_of(rest.ptr + gone, rest.len - gone);
    }
}

static void begin(struct line *l, enum log_level level, const char *module, const char *text)
{
    l->len = 0;
    l->cut = false;
    char lead[64];
    if (sink.journal) {
        snprintf(lead, sizeof(lead), "<%d>%s ", levels[level].priority, levels[level].name);
    } else {
        int64_t now_us = clock_us(CLOCK_REALTIME);
        time_t seconds = now_us / SECOND_US;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        size_t n = strftime(lead, sizeof(lead), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(lead + n, sizeof(lead) - n, ".%03dZ %s ", (int)(now_us % SECOND_US / MS_US), levels[level].name);
    }
    line_put(l, lead);
    line_put(l, sink.program);
    line_put(l, "/");
    line_put(l, module);
    line_put(l, ": ");
    line_escaped(l, slice_str(text));
}

/* Prints what silenced sites left out, of those whose window is over, or of all. */
static void report_silenced(int64_t now_us, bool all)
{
    struct line l;
    for (struct log_site **at = &sink.silenced; *at != NULL;) {
        struct log_site *site = *at;
        if (!all && now_us - site->window_start_us < LOG_WINDOW_US) {
            at = &site->next;
            continue;
        }
        begin(&l, site->level, site->module, site->text);
        line_kv(&l, &KV_U64("left_out", site->suppressed));
        emit(&l);
        *at = site->next;
        site->suppressed = 0;
    }
}

static bool admit(struct log_site *site, int64_t now_us)
{
    if (site->in_window == 0 || now_us - site->window_start_us >= LOG_WINDOW_US) {
        site->window_start_us = now_us;
        site->in_window = 0;
    }
    if (site->in_window < LOG_BURST) {
        site->in_window++;
        return true;
    }
    return false;
}

static bool enter(struct log_site *site, enum log_level level, const char *module, const char *text)
{
    pthread_mutex_lock(&sink.lock);
    int64_t now_us = clock_us(CLOCK_MONOTONIC);
    report_silenced(now_us, false);
    bool admitted = site == NULL || admit(site, now_us);
    if (!admitted && site->suppressed++ == 0) {
        site->level = level;
        site->module = module;
        snprintf(site->text, sizeof(site->text), "%s", text);
        site->next = sink.silenced;
        sink.silenced = site;
    }
    pthread_mutex_unlock(&sink.lock);
    return admitted;
}

void log_write(struct log_site *site, enum log_level level, const char *module, const char *text,
               const struct log_kv *kvs, size_t count)
{
    if (level > sink.lowest || sink.muted || !enter(site, level, module, text)) {
        return;
    }
    struct line l;
    begin(&l, level, module, text);
    for (size_t i = 0; i < count; i++) {
        line_kv(&l, &kvs[i]);
    }
    emit(&l);
}

static void report_all(void)
{
    pthread_mutex_lock(&sink.lock);
    report_silenced(0, true);
    pthread_mutex_unlock(&sink.lock);
}

void log_setup(const char *program, enum log_level lowest)
{
    sink.program = program;
    sink.lowest = lowest;
    sink.journal = getenv("JOURNAL_STREAM") != NULL;
    if (!sink.flushed_at_exit) {
        sink.flushed_at_exit = atexit(report_all) == 0;
    }
}

void log_mute(void)
{
    sink.muted = true;
}

enum err log_level_parse(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret_level = (enum log_level)i;
            return OK;
        }
    }
    return ERR_RANGE;
}
