/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html - the report as one page: verdict, headline figures, plots, tables, settings. It refers to nothing outside and
 * runs no script (its own policy forbids both), so that it can be mailed, archived and printed.
 */
#include "simulators/figures/figures_internal.h"

const char figures_style[] =
    ":root{color-scheme:light "
    "dark;--paper:#fff;--card:#f6f7f9;--ink:#16202a;--dim:#5a6673;--line:#d9dee4;--good:#12713a;"
    "--bad:#b3261e;--partial:#8a5a00;--good-bg:#e4f4ea;--bad-bg:#fce8e6;--partial-bg:#fdf1d8;--c0:#0b62a8;--c1:#c2500b;"
    "--c2:#0a7d5a;--c3:#a13d80;--c4:#7a6a00;--c5:#4a4fc4}\n"
    "@media "
    "(prefers-color-scheme:dark){:root{--paper:#12171d;--card:#1b222a;--ink:#e6eaee;--dim:#9aa7b4;--line:#323c47;"
    "--good:#6fd79a;--bad:#ff8a80;--partial:#f3c26b;--good-bg:#16301f;--bad-bg:#3a1a18;--partial-bg:#352710;--c0:#"
    "62b0f0;"
    "--c1:#f59a5b;--c2:#4fd0a3;--c3:#e48cc6;--c4:#d8c64a;--c5:#9ea2ff}}\n"
    "@media print{:root{color-scheme:light;--paper:#fff;--card:#fff;--ink:#000;--dim:#444;--line:#bbb;--good:#0b5227;"
    "--bad:#8c1d18;--partial:#6b4600;--good-bg:#fff;--bad-bg:#fff;--partial-bg:#fff;--c0:#00437a;--c1:#a03c00;--c2:#"
    "005c40;"
    "--c3:#7d2560;--c4:#5c5000;--c5:#2d318f}main{padding:0}figure,.cards "
    "div,tr{break-inside:avoid}h2{break-after:avoid}"
    "details>*{display:block}.wide{overflow:visible}body{font-size:12px}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 "
    "system-ui,-apple-system,"
    "\"Segoe UI\",\"DejaVu Sans\",sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:24px 16px 40px}h1{font-size:26px;line-height:1.25;margin:0}"
    "h2{font-size:18px;margin:32px 0 10px;padding-top:14px;border-top:1px solid var(--line)}"
    "h3{font-size:15px;margin:0 0 2px}h3 small,.when,footer,.none{color:var(--dim);font-weight:400;font-size:13px}"
    ".when{margin:2px 0 0}\n"
    ".verdict{margin:16px 0;padding:12px 16px;border-left:5px "
    "solid;border-radius:4px;font-size:16px;overflow-wrap:anywhere}"
    ".verdict b{margin-right:.5em}.v-good{color:var(--good);background:var(--good-bg)}"
    ".v-bad{color:var(--bad);background:var(--bad-bg)}.v-partial,.v-gaps{color:var(--partial);background:var(--partial-bg)}"
    ".verdict span{color:var(--ink)}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0;padding:0}"
    ".cards div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}"
    ".cards dt{font-size:13px;color:var(--dim)}.cards dd{margin:0;font-size:21px;font-weight:600;line-height:1.3;"
    "overflow-wrap:anywhere;font-variant-numeric:tabular-nums}.m-fine dd{color:var(--good)}.m-alarming "
    "dd{color:var(--bad)}\n"
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px}"
    "figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 12px "
    "6px;min-width:0}"
    "figcaption{font-size:13px;color:var(--dim);margin-bottom:4px}figcaption b{color:var(--ink);font-weight:600}"
    ".key{display:inline-block;margin-right:14px}.swatch{width:24px;height:8px;margin-right:5px;vertical-align:middle}"
    "figure>svg{display:block;width:100%;height:auto}\n"
    "svg text{font:12.5px system-ui,\"DejaVu Sans\",sans-serif;fill:var(--dim)}.grid{stroke:var(--line);stroke-width:1}"
    ".axis{stroke:var(--dim);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
    ".area{fill:var(--c0);opacity:.13}.mark{fill:var(--c0);stroke:var(--card);stroke-width:1.5}"
    ".hit{fill:transparent}.hit:hover{fill:var(--ink);opacity:.12}"
    ".c0{stroke:var(--c0)}.c1{stroke:var(--c1);stroke-dasharray:7 4}.c2{stroke:var(--c2);stroke-dasharray:2 4}"
    ".c3{stroke:var(--c3);stroke-dasharray:11 3 2 3}.c4{stroke:var(--c4);stroke-dasharray:4 2}"
    ".c5{stroke:var(--c5);stroke-dasharray:1 3}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}"
    "caption{text-align:left;font-weight:600;padding:14px 0 4px}th,td{text-align:left;vertical-align:top;padding:5px "
    "12px 5px 0;"
    "border-bottom:1px solid var(--line)}th{font-weight:400}thead th{color:var(--dim);font-size:13px}"
    "td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}td.n{font-weight:600}"
    ".figures{table-layout:fixed}.figures th{width:30%}.figures .n{width:24%;padding-right:20px;white-space:normal}.why{color:var(--dim)}"
    ".settings th{width:40%;overflow-wrap:anywhere}.settings td{font-family:ui-monospace,\"DejaVu Sans "
    "Mono\",monospace;font-size:13px;overflow-wrap:anywhere}\n"
    ".notes{list-style:none;margin:0;padding:0}.notes li{border-left:4px solid var(--line);padding:4px 12px;margin:6px "
    "0;"
    "overflow-wrap:anywhere}.notes .n-warning{border-color:var(--partial)}.notes .n-error{border-color:var(--bad)}"
    "summary{cursor:pointer;font-weight:600}footer{margin-top:32px}\n"
    "@media (max-width:520px){main{padding:16px 12px 28px}h1{font-size:21px}svg "
    "text{font-size:17px}.line{stroke-width:2.6}"
    ".figures thead{display:none}.figures tr{display:flex;flex-wrap:wrap;border-bottom:1px solid "
    "var(--line);padding:5px 0}"
    ".figures th,.figures td,.figures td.n{border:0;padding:0;width:auto}.figures "
    "th{margin-right:auto;padding-right:12px}"
    ".figures td.n{white-space:normal}.figures .why{flex:0 0 100%;font-size:13px}.figures "
    ".why:empty{display:none}.cards dd{font-size:18px}"
    ".cards{grid-template-columns:1fr 1fr}}\n"
    "@media print{.plots{grid-template-columns:1fr 1fr}.cards{grid-template-columns:repeat(3,1fr)}h2{margin-top:18px}"
    "svg text{font-size:17px}caption,thead{break-after:avoid}}\n";

void figures_put_html(struct buffer *out, const char *text)
{
    struct slice rest = slice_str(text);
    while (rest.len > 0) {
        uint8_t c = rest.ptr[0];
        size_t len = utf8_length(rest);
        bool control =
            (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || (len == 2 && c == 0xc2 && rest.ptr[1] < 0xa0);
        if (len == 0 || control) {
            buffer_put_str(out, "\xef\xbf\xbd");
        } else if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'') {
            buffer_printf(out, "&#%u;", (unsigned)c);
        } else {
            buffer_put(out, rest.ptr, len);
        }
        len = len > 0 ? len : 1;
        rest = slice_of(rest.ptr + len, rest.len - len);
    }
}

/* "1.2 ms", with the sign for micro where there is one. */
static void put_shown(struct buffer *out, const char *text)
{
    size_t len = strlen(text);
    if (len > 3 && strcmp(text + len - 3, " us") == 0) {
        buffer_printf(out,
                      "%.*s \xc2\xb5"
                      "s",
                      (int)len - 3, text);
    } else {
        figures_put_html(out, text);
    }
}

static void put_element(struct buffer *out, const char *open, const char *text, const char *close)
{
    buffer_put_str(out, open);
    figures_put_html(out, text);
    buffer_put_str(out, close);
}

static void put_top(const struct figures *f, struct buffer *out)
{
    static const char *const WORDS[] = {"Good.", "Bad.", "Broken off.", "Gaps."};
    put_element(out, "<header>\n<h1>", f->title, "</h1>\n");
    if (f->when[0] != '\0') {
        put_element(out, "<p class=\"when\">", f->when, "</p>\n");
    }
    if (f->summary[0] != '\0') {
        buffer_printf(out, "<p class=\"verdict v-%s\"><b>%s</b>", figures_verdict_word(f->verdict), WORDS[f->verdict]);
        put_element(out, "<span>", f->summary, "</span></p>\n");
    }
    buffer_put_str(out, "</header>\n");
}

static void put_cards(const struct figures *f, struct buffer *out)
{
    static const char *const MOODS[] = {"plain", "fine", "alarming"};
    size_t shown = 0;
    for (size_t i = 0; i < f->key_count && shown < 6; i++) {
        const struct key *key = &f->keys[i];
        char text[FIGURES_VALUE];
        if (!key->headline) {
            continue;
        }
        buffer_put_str(out, shown++ == 0 ? "<dl class=\"cards\">\n" : "");
        buffer_printf(out, "<div class=\"m-%s\">", MOODS[key->mood]);
        put_element(out, "<dt>", key->label, "</dt><dd>");
        put_shown(out, figures_key_value(key, text));
        buffer_put_str(out, "</dd></div>\n");
    }
    buffer_put_str(out, shown > 0 ? "</dl>\n" : "");
}

static void put_notes(const struct figures *f, struct buffer *out)
{
    static const char *const WORDS[] = {"", "Warning: ", "Error: "};
    if (f->note_count == 0) {
        return;
    }
    buffer_put_str(out, "<h2>Notes</h2>\n<ul class=\"notes\">\n");
    for (size_t i = 0; i < f->note_count; i++) {
        buffer_printf(out, "<li class=\"n-%s\">%s", figures_level_word(f->notes[i].level), WORDS[f->notes[i].level]);
        put_element(out, "", f->notes[i].text, "</li>\n");
    }
    buffer_put_str(out, "</ul>\n");
}

static void put_plots(const struct figures *f, struct buffer *out)
{
    if (f->plot_count > 0) {
        buffer_put_str(out, "<h2>Over time</h2>\n<div class=\"plots\">\n");
    }
    for (size_t i = 0; i < f->plot_count; i++) {
        figures_put_plot(&f->plots[i], out);
    }
    buffer_put_str(out, f->plot_count > 0 ? "</div>\n" : "");
}

static void put_latency_row(const struct distribution *d, struct buffer *out)
{
    const struct histogram *h = d->histogram;
    char text[FIGURES_SHORT];
    put_element(out, "<tr><th scope=\"row\">", d->title, "</th>");
    buffer_printf(out, "<td class=\"n\">%s</td>", figures_show_count((double)h->count, text));
    int64_t values[COUNT_OF(figures_percents) + 2];
    size_t count = 0;
    values[count++] = (int64_t)histogram_mean_us(h);
    for (size_t i = 0; i < COUNT_OF(figures_percents); i++) {
        values[count++] = histogram_percentile(h, figures_percents[i]);
    }
    values[count++] = h->max_us;
    for (size_t i = 0; i < count; i++) {
        buffer_put_str(out, "<td class=\"n\">");
        put_shown(out, h->count > 0 ? figures_show_duration(values[i], text) : "-");
        buffer_put_str(out, "</td>");
    }
    buffer_put_str(out, "</tr>\n");
}

static void put_latencies(const struct figures *f, struct buffer *out)
{
    if (f->distribution_count == 0) {
        return;
    }
    buffer_put_str(out, "<h2>Latency</h2>\n<div class=\"plots\">\n");
    for (size_t i = 0; i < f->distribution_count; i++) {
        figures_put_distribution(&f->distributions[i], out);
    }
    buffer_put_str(out, "</div>\n<div class=\"wide\" "
                        "tabindex=\"0\"><table>\n<caption>Percentiles</caption>\n<thead><tr><th scope=\"col\">"
                        "</th><th scope=\"col\" class=\"n\">values</th><th scope=\"col\" class=\"n\">mean</th>");
    for (size_t i = 0; i < COUNT_OF(figures_percents); i++) {
        buffer_printf(out, "<th scope=\"col\" class=\"n\">%s</th>", FIGURES_PERCENTS[i]);
    }
    buffer_put_str(out, "<th scope=\"col\" class=\"n\">max</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < f->distribution_count; i++) {
        put_latency_row(&f->distributions[i], out);
    }
    buffer_put_str(out, "</tbody></table></div>\n");
}

static void put_tables(const struct figures *f, struct buffer *out)
{
    const char *group = NULL;
    buffer_put_str(out, f->key_count > 0 ? "<h2>Figures</h2>\n" : "");
    for (size_t i = 0; i < f->key_count; i++) {
        const struct key *key = &f->keys[i];
        char text[FIGURES_VALUE];
        if (group == NULL || strcmp(group, key->group) != 0) {
            buffer_put_str(out, group != NULL ? "</tbody></table>\n" : "");
            group = key->group;
            put_element(out, "<table class=\"figures\">\n<caption>", group,
                        "</caption>\n<thead><tr><th scope=\"col\">figure</th><th scope=\"col\" class=\"n\">value</th>"
                        "<th scope=\"col\">what it is</th></tr></thead>\n<tbody>\n");
        }
        put_element(out, "<tr><th scope=\"row\">", key->label, "</th><td class=\"n\">");
        put_shown(out, figures_key_value(key, text));
        put_element(out, "</td><td class=\"why\">", key->why, "</td></tr>\n");
    }
    buffer_put_str(out, group != NULL ? "</tbody></table>\n" : "");
}

static void put_settings(const struct figures *f, struct buffer *out)
{
    if (f->setting_count == 0) {
        return;
    }
    buffer_put_str(
        out,
        "<h2>What was run</h2>\n<details open><summary>Settings</summary>\n<div class=\"wide\" tabindex=\"0\"><table "
        "class=\"settings\">\n<thead><tr><th scope=\"col\">setting</th><th scope=\"col\">value</th></tr>"
        "</thead>\n<tbody>\n");
    for (size_t i = 0; i < f->setting_count; i++) {
        put_element(out, "<tr><th scope=\"row\">", f->settings[i].name, "</th><td>");
        put_element(out, "", f->settings[i].value, "</td></tr>\n");
    }
    buffer_put_str(out, "</tbody></table></div>\n</details>\n");
}

void figures_render_html(const struct figures *f, struct buffer *out)
{
    buffer_put_str(out,
                   "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                   "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    put_element(out, "<title>", f->title, "</title>\n<style>\n");
    buffer_put_str(out, figures_style);
    buffer_put_str(out, "</style>\n</head>\n<body>\n<main>\n");
    put_top(f, out);
    put_cards(f, out);
    put_notes(f, out);
    put_plots(f, out);
    put_latencies(f, out);
    put_tables(f, out);
    put_settings(f, out);
    buffer_put_str(out, "<footer>Made by weir-fleet.</footer>\n</main>\n</body>\n</html>\n");
}
