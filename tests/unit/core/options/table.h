/* SPDX-License-Identifier: Apache-2.0 */
/* The table that the tests of core/options share: one row of each type, three levels of sections. */
#ifndef TESTS_UNIT_CORE_OPTIONS_TABLE_H
#define TESTS_UNIT_CORE_OPTIONS_TABLE_H

#include "core/options/options.h"

struct settings {
    char *site, *id, *socket, *host, *ca, *cert, *text;
    bool insecure;
    int64_t port, keepalive, size, delay;
    double above;
    int level, backend;
    struct option_list channels;
};
#define AT(member) offsetof(struct settings, member)

static const struct option TABLE[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true, .help = "The plant."},
    {.name = "id", .type = OPTION_ID, .offset = AT(id), .required = true, .help = "Who this is."},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(level), .words = "error|warn|info|debug", .preset = "info",
     .live = true, .help = "Lowest level that is printed."},
    {.name = "control.socket", .type = OPTION_PATH, .offset = AT(socket), .preset = "control.sock", .help = "Socket."},
    {.name = "broker.host", .type = OPTION_STRING, .offset = AT(host), .min = 1, .max = 20, .preset = "localhost",
     .help = "Broker."},
    {.name = "broker.port", .type = OPTION_INT, .offset = AT(port), .min = 1, .max = 65535, .preset = "8883",
     .help = "Port."},
    {.name = "broker.backend", .type = OPTION_ENUM, .offset = AT(backend), .words = "paho|native", .preset = "native",
     .help = "Session."},
    {.name = "broker.insecure", .type = OPTION_BOOL, .offset = AT(insecure), .preset = "false", .help = "No TLS."},
    {.name = "broker.keepalive", .type = OPTION_DURATION, .offset = AT(keepalive), .min = 1e6, .max = 3600e6,
     .preset = "30s", .live = true, .help = "Keep-alive."},
    {.name = "broker.tls.ca", .type = OPTION_FILE, .offset = AT(ca), .preset = "", .help = "CA."},
    {.name = "broker.tls.cert", .type = OPTION_FILE, .offset = AT(cert), .preset = "", .help = "Certificate."},
    {.name = "store.size", .type = OPTION_BYTES, .offset = AT(size), .min = 1 << 20,
     .preset = "64MiB", .help = "Size."},
    {.name = "commit.delay", .type = OPTION_DURATION, .offset = AT(delay),
     .preset = "0", .live = true, .help = "Delay."},
    {.name = "alarm.above", .type = OPTION_NUMBER, .offset = AT(above), .preset = ".inf", .help = "Limit."},
    {.name = "alarm.text", .type = OPTION_STRING, .offset = AT(text), .live = true, .help = "What the alarm says."},
    {.name = "sense.channels", .type = OPTION_LIST, .offset = AT(channels), .max = 4, .preset = "a, b", .live = true,
     .help = "Channels."},
    {.name = NULL},
};

static inline enum err check_together(const void *arg, struct buffer *problems)
{
    const struct settings *s = arg;
    if (s->port == 1883 && !s->insecure) {
        buffer_put_str(problems, "broker.port: 1883 is the port without TLS\nlog.level: another sentence\n");
        return ERR_RANGE;
    }
    return OK;
}

static const struct options_program PROGRAM = {.name = "weir-test",
                                               .summary = "tests the options",
                                               .table = TABLE,
                                               .settings_size = sizeof(struct settings),
                                               .check = check_together};

#endif
