/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's questions to a gateway: what each path of the control socket says.
 */
#include "gateway/gatewayd/app.h"

#include <ctype.h>

#include "core/log/log.h"
#include "gateway/filter/filter.h"

enum { UPLINK_OPEN_S = 600, UPLINK_OPEN_MAX_S = 31 * 86400 };

static int answer_status(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    gateway_status_json(app->gateway, body);
    return 200;
}

static int answer_ledger(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    gateway_ledger_json(app->gateway, control_param(request, "device"), body);
    return 200;
}

static int answer_devices(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    gateway_devices_json(app->gateway, body);
    return 200;
}

const char *app_why_not(enum err err)
{
    return err == ERR_UNSUPPORTED ? "the gateway was started without rules.file"
           : err == ERR_DENIED    ? "a rule with do: hash needs the plant's key (rules.key)"
                                  : err_name(err);
}

/* ?device=D adds what became of that device's records. */
static int answer_rules(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    if (gateway_filter(app->gateway) == NULL) {
        return control_error(body, 404, "this gateway has no rules");
    }
    filter_report_json(gateway_filter(app->gateway), control_param(request, "device"), body);
    return 200;
}

/* ?file=PATH runs the rules in that file beside the live ones; without file the shadow ends. */
static int answer_shadow(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    const char *path = control_param(request, "file");
    struct rules *rules = NULL;
    BUFFER(problems, 16 * 1024);
    if (path != NULL && settings_load_rules(&app->settings, path, &rules, &problems) != OK) {
        return control_error(body, 400, problems.len > 0 ? buffer_text(&problems) : "the file cannot be read");
    }
    enum err err = gateway_set_shadow(app->gateway, rules);
    if (err != OK) {
        rules_free(rules);
        return control_error(body, err == ERR_UNSUPPORTED ? 404 : err == ERR_DENIED ? 400 : 503, app_why_not(err));
    }
    rules_free(app->shadow);
    app->shadow = rules;
    return answer_rules(app, request, body);
}

/* Readings from the ring; see fetch.h. */
static int answer_fetch(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    return fetch_answer(&app->desk, gateway_filter(app->gateway), request, body);
}

static int answer_bill(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    (void)request;
    return gateway_bill_json(app->gateway, body) == OK ? 200 : control_error(body, 404, "this gateway has no parent");
}

/* ?for=SECONDS; 0 ends it. */
static int answer_uplink_open(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    const char *text = control_param(request, "for");
    char *end = NULL;
    uint64_t seconds = text != NULL ? strtoull(text, &end, 10) : UPLINK_OPEN_S;
    if ((text != NULL && (!isdigit((unsigned char)text[0]) || *end != '\0')) || seconds > UPLINK_OPEN_MAX_S) {
        return control_error(body, 400, "for is a number of seconds, a month at most");
    }
    enum err err = gateway_open_uplink(app->gateway, (int64_t)seconds * SECOND_US);
    if (err != OK) {
        return control_error(body, err == ERR_UNSUPPORTED ? 404 : 503,
                             err == ERR_UNSUPPORTED ? "this gateway has no parent" : "the gateway is starting");
    }
    log_info(seconds > 0 ? "uplink asked for" : "uplink not asked for any more", KV_U64("seconds", seconds));
    gateway_status_json(app->gateway, body);
    return 200;
}

/* ?device=D: only that one. */
static int answer_health(void *arg, const struct control_request *request, struct buffer *body)
{
    struct app *app = arg;
    enum err err = gateway_health_json(app->gateway, control_param(request, "device"), body);
    if (err == OK) {
        return 200;
    }
    return control_error(body, err == ERR_UNSUPPORTED ? 404 : 503,
                         err == ERR_UNSUPPORTED ? "this gateway has no health.calibrations"
                                                : "the gateway is starting");
}

const struct control_route app_routes[] = {
    {"/status", answer_status},
    {"/ledger", answer_ledger},
    {"/devices", answer_devices},
    {"/rules", answer_rules},
    {"/rules/shadow", answer_shadow},
    {"/fetch", answer_fetch},
    {"/bill", answer_bill},
    {"/uplink/open", answer_uplink_open},
    {"/health", answer_health},
    {NULL, NULL},
};
