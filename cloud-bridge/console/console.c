/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - the command line: verbs and options as tables, help from the same tables, nearest names for the unknown.
 *
 * A new verb is a row in VERBS, a table of its options and one function.
 */
#include "cloud-bridge/console/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/options/options.h"

enum flag_kind {
    FLAG_SET,     /* no value; bool */
    FLAG_TEXT,    /* const char * */
    FLAG_COUNT,   /* int64_t, min..max */
    FLAG_SECONDS, /* optional value; int64_t us; sets the bool at `also` */
    FLAG_DURATION, /* int64_t us, above 0 */
};
struct flag {
    const char *name;
    enum flag_kind kind;
    size_t offset, also;
    int64_t min, max;
    const char *value; /* as the help names it */
    const char *help;
};
struct verb {
    const char *name, *usage, *summary, *example;
    const char *details;
    const struct flag *flags; /* ends with a NULL name */
    bool takes_device;        /* one positional argument */
    size_t takes_words;       /* so many of them, instead */
    size_t may_omit;          /* of these, at the end */
    enum exit_code (*run)(const struct args *args);
};
#define AT(member) offsetof(struct args, member)

static const struct flag COMMON_FLAGS[] = {
    {.name = "--run", .kind = FLAG_TEXT, .offset = AT(run), .value = "DIR",
     .help = "folder with the daemons' control sockets (*.sock); WEIR_RUN, default /run/weir"},
    {.name = "--json", .kind = FLAG_SET, .offset = AT(json), .help = "print JSON instead of text"},
    {.name = NULL},
};
static const struct flag STATUS_FLAGS[] = {
    {.name = "--watch", .kind = FLAG_SECONDS, .offset = AT(watch_us), .also = AT(watch), .value = "[SECONDS]",
     .help = "again every so many seconds (default 2) until Ctrl-C"},
    {.name = NULL},
};
static const struct flag LEDGER_FLAGS[] = {
    {.name = "--device", .kind = FLAG_TEXT, .offset = AT(device), .value = "D", .help = "only this device"},
    {.name = "--settled", .kind = FLAG_SET, .offset = AT(settled),
     .help = "exit 0 only if, besides, nothing is in flight"},
    {.name = NULL},
};
static const struct flag TAIL_FLAGS[] = {
    {.name = "--once", .kind = FLAG_SET, .offset = AT(once), .help = "print what is there and end"},
    {.name = "--lines", .kind = FLAG_COUNT, .offset = AT(lines), .min = 1, .max = 10000, .value = "N",
     .help = "begin with the newest N readings (default 10)"},
    {.name = NULL},
};
static const struct flag RULES_FLAGS[] = {
    {.name = "--replay", .kind = FLAG_TEXT, .offset = AT(replay), .value = "DATA",
     .help = "test: CSV file, or folder with CSV files"},
    {.name = "--device", .kind = FLAG_TEXT, .offset = AT(device), .value = "NAME",
     .help = "test: whose data it is, for rules that are for some devices (default replay). check: the file of a device"},
    {.name = "--period", .kind = FLAG_DURATION, .offset = AT(period_us), .value = "100ms",
     .help = "test: so far apart are the rows of a file without times (default 1s)"},
    {.name = "--out", .kind = FLAG_TEXT, .offset = AT(out), .value = "FILE",
     .help = "test: what would go up, as JSON lines"},
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "G",
     .help = "show, shadow: which gateway, where there are several"},
    {.name = "--for", .kind = FLAG_DURATION, .offset = AT(for_us), .value = "10min",
     .help = "shadow: so long, then the difference, and the shadow ends"},
    {.name = "--show", .kind = FLAG_SET, .offset = AT(show), .help = "shadow: the difference until now"},
    {.name = "--off", .kind = FLAG_SET, .offset = AT(off), .help = "shadow: the difference, and the shadow ends"},
    {.name = NULL},
};
static const struct flag WHY_FLAGS[] = {
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "G",
     .help = "only this one; without it every gateway that has seen the device"},
    {.name = "--channel", .kind = FLAG_TEXT, .offset = AT(channel), .value = "C", .help = "only rules for this channel"},
    {.name = "--last", .kind = FLAG_COUNT, .offset = AT(last), .min = 0, .max = 200, .value = "N",
     .help = "so many of the newest records (default 20)"},
    {.name = NULL},
};
static const struct flag FETCH_FLAGS[] = {
    {.name = "--from", .kind = FLAG_TEXT, .offset = AT(from), .value = "T",
     .help = "2026-11-22T13:00:00Z (UTC unless it says otherwise), or -10min: so long before now"},
    {.name = "--to", .kind = FLAG_TEXT, .offset = AT(to), .value = "T", .help = "likewise (default now)"},
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "G",
     .help = "which gateway, where there are several"},
    {.name = "--format", .kind = FLAG_TEXT, .offset = AT(format), .value = "csv|json",
     .help = "a table, or one JSON object per row (default csv; json with --json)"},
    {.name = "--out", .kind = FLAG_TEXT, .offset = AT(out), .value = "FILE", .help = "write the rows there"},
    {.name = "--limit", .kind = FLAG_COUNT, .offset = AT(limit), .min = 1, .max = 1000000000, .value = "N",
     .help = "at most so many rows"},
    {.name = "--unmasked", .kind = FLAG_SET, .offset = AT(unmasked),
     .help = "as the device wrote them, where the gateway's rules.fetch_unmasked allows it"},
    {.name = NULL},
};
static const struct flag BILL_FLAGS[] = {
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "G", .help = "only this one"},
    {.name = NULL},
};
static const struct flag UPLINK_FLAGS[] = {
    {.name = "--for", .kind = FLAG_DURATION, .offset = AT(for_us), .value = "10min",
     .help = "open: so long (default 10min), not beyond a restart of the gateway"},
    {.name = NULL},
};
static const struct flag DRIFT_FLAGS[] = {
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "G", .help = "show: only this one"},
    {.name = "--data", .kind = FLAG_TEXT, .offset = AT(data), .value = "DATA",
     .help = "calibrate: a normal run, CSV file or folder with CSV files"},
    {.name = "--model", .kind = FLAG_TEXT, .offset = AT(model), .value = "FILE", .help = "calibrate: model.yaml"},
    {.name = "--out", .kind = FLAG_TEXT, .offset = AT(out), .value = "FILE", .help = "calibrate: default drift.yaml"},
    {.name = "--margin", .kind = FLAG_TEXT, .offset = AT(margin), .value = "M",
     .help = "calibrate: times the largest of the normal run (default 1.2)"},
    {.name = "--steady", .kind = FLAG_SET, .offset = AT(steady),
     .help = "calibrate: for a short run; inputs that wander in it take no part, levels of the others are watched"},
    {.name = NULL},
};
static const struct flag EXPLAIN_FLAGS[] = {
    {.name = "--db", .kind = FLAG_TEXT, .offset = AT(db), .value = "FILE",
     .help = "database of the bridge's SQLite sink; WEIR_DB, default weir.db"},
    {.name = "--models", .kind = FLAG_TEXT, .offset = AT(models), .value = "DIR",
     .help = "where the models' descriptions are: the answer is worked out again"},
    {.name = "--calibration", .kind = FLAG_TEXT, .offset = AT(calibration), .value = "FILE",
     .help = "drift.yaml of the model: what is normal"},
    {.name = "--data", .kind = FLAG_TEXT, .offset = AT(data), .value = "FILE",
     .help = "readings from this CSV file, as weir fetch writes it, instead of the sink's"},
    {.name = "--at", .kind = FLAG_TEXT, .offset = AT(at), .value = "T",
     .help = "the newest at or before then: 2026-11-22T13:00:00Z, or -10min"},
    {.name = "--event", .kind = FLAG_TEXT, .offset = AT(event), .value = "ID",
     .help = "an event about the device instead: data-drift, sensor-fault, label-requested, ..."},
    {.name = "--top", .kind = FLAG_COUNT, .offset = AT(top), .min = 1, .max = 1000, .value = "N",
     .help = "so many of the most influential inputs (default 10)"},
    {.name = NULL},
};
static const struct flag MODEL_FLAGS[] = {{.name = NULL}};
static const struct flag CASCADE_FLAGS[] = {
    {.name = "--data", .kind = FLAG_TEXT, .offset = AT(data), .value = "DATA",
     .help = "labelled recordings: CSV file or folder with CSV files"},
    {.name = "--label-column", .kind = FLAG_TEXT, .offset = AT(label_column), .value = "NAME",
     .help = "header of the labels (default label; alarms: anomaly)"},
    {.name = "--device", .kind = FLAG_TEXT, .offset = AT(device), .value = "FILE",
     .help = "calibrate: the device's model.yaml"},
    {.name = "--gateway", .kind = FLAG_TEXT, .offset = AT(gateway), .value = "FILE",
     .help = "calibrate: the gateway's model.yaml"},
    {.name = "--loss", .kind = FLAG_TEXT, .offset = AT(loss), .value = "POINTS",
     .help = "calibrate: per cent of right answers that may be lost against asking about everything (default 0.25)"},
    {.name = "--sure", .kind = FLAG_TEXT, .offset = AT(sure), .value = "Z",
     .help = "calibrate: so many standard errors on the safe side (default 2.33: 99 of 100)"},
    {.name = "--asked", .kind = FLAG_TEXT, .offset = AT(asked), .value = "PERCENT",
     .help = "calibrate: at most so many of 100 windows are asked about, even if that loses more (default 100)"},
    {.name = "--budget-bytes", .kind = FLAG_TEXT, .offset = AT(budget_bytes), .value = "N",
     .help = "calibrate, instead: the most accurate within so many bytes an inference"},
    {.name = "--rtt", .kind = FLAG_TEXT, .offset = AT(rtt), .value = "MS",
     .help = "calibrate: round trip of an ask, for the latency (default 40)"},
    {.name = "--ask", .kind = FLAG_TEXT, .offset = AT(ask), .value = "WHAT",
     .help = "calibrate: features, window or smaller, as the device's infer.ask (default smaller)"},
    {.name = "--out", .kind = FLAG_TEXT, .offset = AT(out), .value = "FILE",
     .help = "calibrate: the device's model.yaml with temperature and threshold set"},
    {.name = "--model", .kind = FLAG_TEXT, .offset = AT(model), .value = "FILE", .help = "alarms: model.yaml"},
    {.name = "--normal", .kind = FLAG_TEXT, .offset = AT(normal), .value = "CLASS",
     .help = "alarms: the class without an event (default normal)"},
    {.name = "--false-alarms", .kind = FLAG_TEXT, .offset = AT(false_alarms), .value = "PER_HOUR",
     .help = "alarms: at most so many an hour (default 1)"},
    {.name = NULL},
};
static const struct flag DEAD_FLAGS[] = {
    {.name = "--sink", .kind = FLAG_TEXT, .offset = AT(sink), .value = "NAME", .help = "only letters of this sink"},
    {.name = NULL},
};
static const struct verb VERBS[] = {
    {.name = "status", .usage = "status [--watch [SECONDS]]", .summary = "what every daemon does, and what is wrong",
     .example = "weir status --watch 1",
     .details = "One line per daemon; more than four devices are one line and the unhealthy ones.\n"
                "Exit: 0 ok, 5 degraded or partly unreachable, 4 nothing reachable.\n",
     .flags = STATUS_FLAGS, .run = status_verb},
    {.name = "ledger", .usage = "ledger [--device D] [--settled]", .summary = "every record accounted for, hop by hop",
     .example = "weir ledger --device pump-1 --json",
     .details = "Per stream (device, epoch): records read by the device, durable at the gateway, in the sink; the\n"
                "sink's records + gaps + suppressed must be its high-water mark, and sink <= gateway <= read.\n"
                "Exit: 0 balanced, 5 not balanced, 3 unknown device, 4 nothing reachable.\n",
     .flags = LEDGER_FLAGS, .run = ledger_verb},
    {.name = "tail", .usage = "tail DEVICE [--once] [--lines N]", .summary = "readings as they arrive in the sink",
     .example = "weir tail pump-1 --lines 20",
     .details = "Prints time, channel, value, unit until Ctrl-C.\n"
                "Exit: 0 ok, 3 unknown device, 4 no bridge reachable.\n",
     .flags = TAIL_FLAGS, .takes_device = true, .run = tail_verb},
    {.name = "rules", .usage = "rules check|test|shadow FILE | rules show | rules kinds [KIND]",
     .summary = "what rules say, would do, and do",
     .example = "weir rules shadow new.yaml --for 10min",
     .details = "kinds lists what a rule can do, with all settings and their defaults.\n"
                "check names every mistake with its line; check --device FILE also what is not for a device.\n"
                "test sends each CSV file through the rules as one device's\n"
                "records of 32 samples: values dropped by rule, windows, triggers, records and bytes before and after,\n"
                "and the worst distance between what was dropped and what can be had back from what goes up. The first\n"
                "column is the time when it is dates (2026-11-22 13:00:00.5, 22.11.2026 13:00, ...), or is headed time,\n"
                "timestamp, datetime, date or ts and counts s, ms, us or ns since 1970.\n"
                "shadow runs the rules in FILE beside a gateway's live ones, on the same records, and says the\n"
                "difference: values per rule and bytes on the uplink; nothing of it goes up. The gateway must be able\n"
                "to read FILE.\n"
                "It begins where the live rules stand and goes on until --off or the gateway's end.\n"
                "show says what rules are in force at a gateway, their version, and what each has done since then.\n"
                "Exit: 0 ok, 1 failed or a channel is farther off than its rule declares, 2 mistakes in the rules,\n"
                "3 no data, no such gateway, no shadow or no rules, 4 no gateway reachable.\n",
     .flags = RULES_FLAGS, .takes_words = 2, .may_omit = 1, .run = rules_verb},
    {.name = "why", .usage = "why DEVICE [--channel C] [--last N]",
     .summary = "why a device's records were sent, or not",
     .example = "weir why pump-1 --last 5",
     .details = "Per rule what it saw, dropped and changed of the device, windows, captures, values that came late;\n"
                "and the newest records, one line each: when they came, their numbers, what became of them, and by\n"
                "which rule. Counted since the rules are in force and the gateway runs; rules.trail says how many\n"
                "records it remembers.\n"
                "Exit: 0 ok, 3 unknown device or no rules, 4 no gateway reachable.\n",
     .flags = WHY_FLAGS, .takes_device = true, .run = why_verb},
    {.name = "fetch", .usage = "fetch DEVICE --from T [--to T]",
     .summary = "readings as sampled, from the gateway's ring",
     .example = "weir fetch pump-1 --from -10min --out pump-1.csv",
     .details = "Every row that the ring of raw records still has, also what rules kept from going up. Channels under\n"
                "drop, hash or bucket look as they do upstream, and so do converted ones. Who asked for what is noted\n"
                "before the first row is given, and how much was given at the end: events of the gateway's own, in the\n"
                "sink.\n"
                "Exit: 0 ok, 2 usage, 3 the ring has nothing of it, 4 no gateway reachable, 6 refused: a longer span\n"
                "than rules.fetch_max, or unmasked without rules.fetch_unmasked.\n",
     .flags = FETCH_FLAGS, .takes_device = true, .run = fetch_verb},
    {.name = "bill", .usage = "bill [--gateway G]", .summary = "what the uplink was spent on, and what is left",
     .example = "weir bill --json",
     .details = "Bytes by purpose, today and this month by the gateway's local day: what was published and read as the MQTT\n"
                "client counts it, and an estimate of the link below (docs/uplink.md says which). JSON has a line a gateway.\n"
                "Exit: 0 ok, 3 no such gateway, or it has no parent, 4 no gateway reachable.\n",
     .flags = BILL_FLAGS, .run = bill_verb},
    {.name = "uplink", .usage = "uplink open|close|show GATEWAY [--for 10min]",
     .summary = "opens a gateway's uplink for a while", .example = "weir uplink open line-3 --for 30min",
     .details = "For gateways with uplink.when: on-request, or between windows. close ends what open began.\n"
                "Exit: 0 ok, 3 no such gateway, or it has no parent, 4 no gateway reachable.\n",
     .flags = UPLINK_FLAGS, .takes_words = 2, .run = uplink_verb},
    {.name = "drift", .usage = "drift show [DEVICE] | drift calibrate --data DATA --model FILE",
     .summary = "whether devices and models are still what they were",
     .example = "weir drift calibrate --data normal/ --model pump.yaml --out pump-drift.yaml",
     .details = "show: per device and model what is beyond its limit: inputs and scores (data drift), disagreement with the\n"
                "gateway (concept drift), sensors; and what there are no figures for.\n"
                "calibrate: the samples in DATA, at the model's rate, through the model's features and network: what is normal\n"
                "from the first half, limits from the second; and how many false alarms that would have been.\n"
                "Exit: 0 ok, 2 usage or a bad model, 3 no such device, data or channel, 4 no gateway reachable, 5 something is beyond.\n",
     .flags = DRIFT_FLAGS, .takes_words = 2, .may_omit = 1, .run = drift_verb},
    {.name = "model", .usage = "model inspect FILE", .summary = "what a model is made of, and what it costs a device",
     .example = "weir model inspect pump.yaml --json",
     .details = "FILE is a .tflite, or the description of a model (.yaml). Operators, shapes, RAM, flash, multiply-accumulates,\n"
                "inputs and outputs with their scales. RAM is what a microcontroller needs, weights staying in the file.\n"
                "Exit: 0 ok, 2 the file is no model or none that we can run, 3 no such file.\n",
     .flags = MODEL_FLAGS, .takes_words = 2, .run = model_verb},
    {.name = "explain", .usage = "explain DEVICE[/NUMBER] [--models DIR] [--event ID]",
     .summary = "what a decision rests on",
     .example = "weir explain pump-1 --db weir.db --models models/",
     .details = "The newest answer of the device in the sink, or the one in record NUMBER (EPOCH/NUMBER where several epochs\n"
                "have it): label, confidence, who answered and how it was asked, model and configuration, window. With\n"
                "--models the readings of the window are taken from the sink and the answer is worked out again by the\n"
                "code of device and gateway; then every channel and feature in turn is set to what is normal: the change\n"
                "that makes is its influence.\n"
                "--event: statistic, value and limit; with --calibration which channels made it.\n"
                "Exit: 0 ok, 1 failed, 2 usage or no database of a bridge, 3 no such device, record, event or file,\n"
                "5 in part: no such model, readings missing, or another answer than was recorded, 6 may not be read.\n",
     .flags = EXPLAIN_FLAGS, .takes_device = true, .run = explain_verb},
    {.name = "cascade", .usage = "cascade calibrate|alarms --data DATA ...",
     .summary = "when a device's model asks, and when it alarms, from labelled data",
     .example = "weir cascade calibrate --data held-out/ --device small.yaml --gateway heavy.yaml --out small.yaml",
     .details = "calibrate: DATA through both models as device and gateway would run them: a temperature that makes the\n"
                "device's confidence honest, the curve from threshold to accuracy, asks, bytes and latency, and the\n"
                "threshold that keeps --loss or --budget-bytes. Use data that neither model was trained on.\n"
                "alarms: mean over m answers, limit and silence after an alarm that miss fewest events with at most\n"
                "--false-alarms; with two files or more every second one is kept back and told apart.\n"
                "Exit: 0 ok, 1 failed, 2 usage or models and data that do not fit, 3 no such file, channel or column, or\n"
                "nothing keeps the bound.\n",
     .flags = CASCADE_FLAGS, .takes_words = 1, .run = cascade_verb},
    {.name = "dead", .usage = "dead ls | show NUMBER | replay NUMBER|all | drop NUMBER|all [--sink NAME]",
     .summary = "records that a sink can never take", .example = "weir dead replay all --sink pg",
     .details = "The bridge keeps them with the reason; in the sink their numbers are a gap, dead_letter. replay offers\n"
                "them to their sink again, drop forgets them.\n"
                "Exit: 0 ok, 1 not all were taken, 3 no such letter, 4 no bridge reachable.\n",
     .flags = DEAD_FLAGS, .takes_words = 2, .may_omit = 1, .run = dead_verb},
};

/* ---- output ---- */
bool print_out(const struct buffer *out)
{
    if (out->err != OK) {
        print_message("the output is too large: %s", err_name(out->err));
        return false;
    }
    return (out->len == 0 || fwrite(out->ptr, 1, out->len, stdout) == out->len) && fflush(stdout) == 0;
}

void print_message(const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    fprintf(stderr, "weir: %s\n", text);
}

/* ---- help ---- */
static void put_flags(const struct flag *flags, struct buffer *out)
{
    for (const struct flag *flag = flags; flag->name != NULL; flag++) {
        char left[40];
        snprintf(left, sizeof(left), "%s %s", flag->name, flag->value ? flag->value : "");
        buffer_printf(out, "  %-20s %s\n", left, flag->help);
    }
}

static enum exit_code help_of(const struct verb *verb)
{
    BUFFER(out, 16 * 1024);
    buffer_printf(&out, "weir %s - %s\n\nUsage: weir [--run DIR] [--json] %s\n\n%s\nOptions:\n", verb->name,
                  verb->summary, verb->usage, verb->details);
    put_flags(verb->flags, &out);
    put_flags(COMMON_FLAGS, &out);
    buffer_printf(&out, "\nExample: %s\n", verb->example);
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code help_of_all(void)
{
    BUFFER(out, 16 * 1024);
    buffer_put_str(&out, "weir - asks a Weir system's daemons\n\n"
                         "Usage: weir [--run DIR] [--json] VERB ...\n\nVerbs:\n");
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        buffer_printf(&out, "  %-34s %s\n", VERBS[i].usage, VERBS[i].summary);
    }
    buffer_put_str(&out, "  help [VERB], --version\n\nOptions of every verb:\n");
    put_flags(COMMON_FLAGS, &out);
    buffer_printf(&out, "\nExample: %s\n", VERBS[0].example);
    buffer_put_str(&out, "Exit: 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 degraded, 6 denied\n");
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- taking the command line apart ---- */
static enum exit_code wrong(const char *text, const char *word, const char *nearest)
{
    print_message("%s %s%s%s%s", text, word, nearest ? "; did you mean " : "", nearest ? nearest : "",
                  nearest ? "?" : "");
    return EXIT_USAGE;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        if (strcmp(VERBS[i].name, name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

static enum exit_code unknown_verb(const char *name)
{
    struct options_nearest nearest = {.word = name};
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        options_nearest_offer(&nearest, VERBS[i].name);
    }
    options_nearest_offer(&nearest, "help");
    return wrong("unknown verb", name, nearest.best);
}

static const struct flag *find_flag(const struct flag *flags, const char *arg)
{
    size_t len = strcspn(arg, "=");
    for (const struct flag *flag = flags; flags != NULL && flag->name != NULL; flag++) {
        if (strlen(flag->name) == len && strncmp(flag->name, arg, len) == 0) {
            return flag;
        }
    }
    return NULL;
}

static enum exit_code unknown_flag(const struct verb *verb, const char *arg)
{
    struct options_nearest nearest = {.word = arg};
    const struct flag *tables[] = {COMMON_FLAGS, verb ? verb->flags : NULL};
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        for (const struct flag *flag = tables[i]; flag != NULL && flag->name != NULL; flag++) {
            options_nearest_offer(&nearest, flag->name);
        }
    }
    options_nearest_offer(&nearest, "--help");
    options_nearest_offer(&nearest, "--version");
    return wrong("unknown option", arg, nearest.best);
}

static bool to_number(const char *text, double *ret_value)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_value = strtod(text, &end);
    return *end == '\0';
}

/* Stores one option; value NULL = none was written. */
static enum exit_code store_flag(struct args *args, const struct flag *flag, const char *value)
{
    char *field = (char *)args + flag->offset;
    double number = 2;
    switch (flag->kind) {
    case FLAG_SET:
        if (value != NULL) {
            return wrong("takes no value:", flag->name, NULL);
        }
        *(bool *)(void *)field = true;
        return EXIT_OK;
    case FLAG_TEXT:
        if (value == NULL || value[0] == '\0') {
            return wrong("needs a value:", flag->name, NULL);
        }
        *(const char **)(void *)field = value;
        return EXIT_OK;
    case FLAG_COUNT:
        if (value == NULL || !to_number(value, &number) || number < (double)flag->min || number > (double)flag->max ||
            number != (double)(int64_t)number) {
            print_message("%s takes a whole number %lld..%lld", flag->name, (long long)flag->min, (long long)flag->max);
            return EXIT_USAGE;
        }
        *(int64_t *)(void *)field = (int64_t)number;
        return EXIT_OK;
    case FLAG_SECONDS:
        if (value != NULL && (!to_number(value, &number) || number < 0.1 || number > 86400)) {
            print_message("%s takes seconds, 0.1..86400", flag->name);
            return EXIT_USAGE;
        }
        *(int64_t *)(void *)field = (int64_t)(number * (double)SECOND_US);
        *(bool *)(void *)((char *)args + flag->also) = true;
        return EXIT_OK;
    case FLAG_DURATION:
        if (value == NULL || !to_duration(value, (int64_t *)(void *)field)) {
            print_message("%s takes a duration: 30s, 10min, 2h", flag->name);
            return EXIT_USAGE;
        }
        return EXIT_OK;
    }
    return EXIT_USAGE;
}

/* argv[*at] is an option. */
static enum exit_code take_flag(int argc, char **argv, int *at, const struct verb *verb, struct args *args)
{
    const char *arg = argv[*at], *equals = strchr(arg, '=');
    const struct flag *flag = find_flag(COMMON_FLAGS, arg);
    if (flag == NULL && verb != NULL) {
        flag = find_flag(verb->flags, arg);
    }
    if (flag == NULL) {
        return unknown_flag(verb, arg);
    }
    const char *value = equals ? equals + 1 : NULL;
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    double number;
    bool takes_next = flag->kind == FLAG_TEXT || flag->kind == FLAG_COUNT || flag->kind == FLAG_DURATION ||
                      (flag->kind == FLAG_SECONDS && next != NULL && to_number(next, &number));
    if (value == NULL && takes_next && next != NULL) {
        value = next;
        ++*at;
    }
    return store_flag(args, flag, value);
}

enum exit_code args_parse(int argc, char **argv, struct args *ret_args, const struct verb **ret_verb)
{
    const char *run = getenv("WEIR_RUN");
    const char *db = getenv("WEIR_DB");
    *ret_args = (struct args){.run = run && run[0] ? run : "/run/weir",
                              .db = db && db[0] ? db : "weir.db",
                              .lines = 10,
                              .last = 20,
                              .top = 10};
    ret_args->color = isatty(STDOUT_FILENO) && (getenv("NO_COLOR") == NULL || getenv("NO_COLOR")[0] == '\0');
    const struct verb *verb = NULL;
    size_t words = 0;
    for (int i = 1; i < argc; i++) {
        enum exit_code code = EXIT_OK;
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            code = take_flag(argc, argv, &i, verb, ret_args);
        } else if (verb == NULL) {
            verb = find_verb(argv[i]);
            code = verb ? EXIT_OK : unknown_verb(argv[i]);
        } else if (verb->takes_device && ret_args->device == NULL && argv[i][0] != '\0') {
            ret_args->device = argv[i];
        } else if (words < verb->takes_words && argv[i][0] != '\0') {
            ret_args->words[words++] = argv[i];
        } else {
            code = wrong("unexpected argument", argv[i], NULL);
        }
        if (code != EXIT_OK) {
            return code;
        }
    }
    if (verb == NULL) {
        print_message("name a verb; weir --help lists them");
        return EXIT_USAGE;
    }
    if ((verb->takes_device && ret_args->device == NULL) ||
        words + verb->may_omit < verb->takes_words) {
        print_message("usage: weir %s", verb->usage);
        return EXIT_USAGE;
    }
    *ret_verb = verb;
    return EXIT_OK;
}

static bool wants(int argc, char **argv, const char *name, const char *other)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0 || strcmp(argv[i], other) == 0) {
            return true;
        }
    }
    return false;
}

static enum exit_code help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct verb *verb = find_verb(argv[i]);
        if (verb != NULL) {
            return help_of(verb);
        }
        if (argv[i][0] != '-' && strcmp(argv[i], "help") != 0 && strcmp(argv[1], "help") == 0) {
            return unknown_verb(argv[i]);
        }
    }
    return help_of_all();
}

int console_main(int argc, char **argv, const char *version)
{
    struct args args;
    const struct verb *verb = NULL;
    if (wants(argc, argv, "--help", "-h") || (argc > 1 && strcmp(argv[1], "help") == 0)) {
        return (int)help(argc, argv);
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("weir %s\n", version);
        return EXIT_OK;
    }
    enum exit_code code = args_parse(argc, argv, &args, &verb);
    return (int)(code == EXIT_OK ? verb->run(&args) : code);
}
