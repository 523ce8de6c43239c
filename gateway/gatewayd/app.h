/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of weir-gateway's process, and what its files call in one another: main.c puts the parts together,
 * answers.c answers the operator over the control socket.
 */
#ifndef GATEWAY_GATEWAYD_APP_H
#define GATEWAY_GATEWAYD_APP_H

#include "core/control/control.h"
#include "core/crypt/crypt.h"
#include "core/daemon/daemon.h"
#include "gateway/gatewayd/fetch.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/limits.h"
#include "gateway/gatewayd/settings.h"
#include "gateway/parents/parents.h"
#include "gateway/publish/publish.h"
#include "gateway/uplink/uplink.h"
#include "proto/rules/rules.h"

struct app {
    struct settings settings;
    struct loop *loop;
    struct crypt_aead *aead;
    struct store *store;
    struct daemon_link down, up[PARENTS_MAX]; /* up: the preferred parent's first */
    struct uplink_parent parents[PARENTS_MAX];
    size_t parent_count;
    struct publish *publish; /* NULL: no views for subscribers in the plant */
    struct gateway *gateway;
    struct control_server *control;
    struct fetch_desk desk;
    struct settings_escalation *asks; /* owned; in force */
    struct limits *limits; /* owned; what was normal */
    struct daemon_life life;
    struct rules *rules, *shadow; /* owned; in force */
    struct rules *next_rules;     /* owned; wait for the commit under way */
    uint8_t pseudonym_key[CRYPT_KEY_BYTES];
};

/* ---- answers.c ---- */
extern const struct control_route app_routes[];
/* Of rules that parse and still are not taken. */
const char *app_why_not(enum err err);

#endif
