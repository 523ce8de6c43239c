/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parents - to which of its parents a gateway sends: failover down a list of preference, and back without flapping.
 *
 * Comes in: what the buses say (parents_link), who answers (parents_heard), that the one in use takes what it is sent
 * (parents_fine), that one's path leads back to us (parents_loop), and the time. Goes out, from parents_look
 * alone: which parent to use, whose bus to start, whom to probe. Pure: no clock, no bus, no log.
 *
 * Parent 0 is the preferred one. One is in use. A parent's bus is started when the parent is first used and stays
 * up from then on; so the preferred one can be probed while another is in use, and one that never was needed costs
 * nothing.
 *
 *   of the one in use                          what the look does
 *   fine within failover                       stays
 *   not fine for failover, not looped          leaves it for another that is not looped; there is none: stays
 *   looped                                     the same at once; there is none: stays, and nothing is sent (parents_sends)
 *   leaving                                    goes to the most preferred that is there; none is: to the next in the list,
 *                                              round. If it was not in use for long, its failback doubles (up to
 *                                              16 times)
 *   not the first, a more preferred one has been there for its failback
 *                                              goes back to that
 *
 *   of another whose bus is up                 (those more preferred than the one in use, and whoever is looped)
 *   probe is due                               probe it; the one before without an answer: it is not there any more
 *   answers                                    there, since the first answer in a row
 *   bus down                                   not there
 *   looped                                     not there; probed on, so that the end of the loop is noticed
 *
 * Fine is: its bus is up, and its mark rises or nothing waits for it.
 * Hold-down: each return takes failback of unbroken answers. Who is left again within LONG times that has to wait
 * twice as long the next time; who stays for longer begins anew.
 */
#ifndef GATEWAY_PARENTS_PARENTS_H
#define GATEWAY_PARENTS_PARENTS_H

#include "core/base/base.h"

enum { PARENTS_MAX = 8, PARENTS_LONG = 4, PARENTS_DOUBLED_MAX = 16 };

struct parents_options {
    unsigned count; /* 1..PARENTS_MAX */
    int64_t failover_us, failback_us, probe_us; /* > 0 */
};
struct parent {
    bool started, up, looped;
    int64_t there_since_us; /* answers in a row since; INT64_MIN = not there */
    int64_t probed_us, answered_us; /* the latest; INT64_MIN = never */
    int64_t failback_us;    /* its own, after doubling */
};
struct parents {
    struct parents_options options;
    struct parent parent[PARENTS_MAX];
    unsigned active;
    int64_t since_us, fine_us; /* of the one in use: since when, and when it was last fine */
};
struct parents_actions {
    bool go;             /* parents->active has changed */
    enum parents_reason { PARENTS_SILENT, PARENTS_LOOPED, PARENTS_BACK } reason;
    unsigned from;       /* the one that was left */
    unsigned start;      /* bit i: start the bus of parent i */
    unsigned probe;      /* bit i: probe parent i */
};

void parents_init(struct parents *p, const struct parents_options *options, int64_t now_us);
void parents_link(struct parents *p, unsigned i, bool up);
/* An answer to a probe, or any other. */
void parents_heard(struct parents *p, unsigned i, int64_t now_us);
/* The one in use takes what it is sent. */
void parents_fine(struct parents *p, int64_t now_us);
void parents_loop(struct parents *p, unsigned i, bool looped);
/* Now and then, at least every probe_us, and after parents_loop. */
void parents_look(struct parents *p, int64_t now_us, struct parents_actions *ret_actions);
/* Whether anything may be sent to the one in use. */
bool parents_sends(const struct parents *p);
/* Whether a parent answers, as far as one knows. */
bool parents_there(const struct parents *p, unsigned i);

#endif
