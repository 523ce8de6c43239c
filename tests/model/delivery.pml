/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery - the protocol of core/window over two hops, small enough to be searched whole.
 *
 *   device ==up1==> gateway ==up2==> sink        frames of one record
 *          <==dn1==         <==dn2==             answers: high-water mark (and boot, verdict on the first hop)
 *
 * Channels lose, repeat and reorder. Device, gateway and sink crash at any point, MAXCRASH times in all, and
 * restart from what they had committed; the channels keep what earlier lives sent. N records. The first hop has the
 * whole machine:
 * boots, hello, boot_top, the hold, lazy trims; the second is the same machine without boots, to keep the search
 * small. Old images are not in the model (tests/unit/core/window/test_two_parties has them): so ROLLED_BACK would
 * be a false alarm.
 *
 * A record's content is the start of the device that made it. A crash takes what was not durable, and the same
 * number is then made anew: a phantom shows as another content.
 *
 * Asserted at every step that could break it:
 *   I1 no loss       whatever the device has trimmed is durable in the gateway's outbox or in the sink, at every moment;
 *                    what the gateway has trimmed is durable in the sink
 *   I2 no duplicate  one row for each number
 *   I3 order         rows rise by one
 *   I8 no phantom    the sink has nothing that the device's durable log has not, nor with another content
 *   no false alarm   an honest sender is never told ROLLED_BACK, and its carrier of a hello is never taken for news
 * That everything arrives in the end is not proved here (a fair network would have to be assumed); the simulations
 * of the unit tests drain every world that they heal. -DCOMPLETES asserts the contrary and must be refuted as well:
 * there are runs with all crashes in which everything arrives, so the search is not an empty one.
 *
 * Planted mistakes, each of which the search must find:
 *   -DACK_BEFORE_COMMIT  the gateway answers with what is only accepted
 *   -DSINK_WITHOUT_HWM   the sink's rows are durable, its mark is not
 *   -DSEND_BEFORE_FSYNC  the device sends what is only appended
 *   -DTRIM_BEFORE_ACK    the gateway trims what it has sent
 *   -DNO_HOLD            the device sends above boot_top before "answered" is durable (two crashes give a false alarm)
 */
#ifndef N
#define N 2
#endif
#ifndef MAXCRASH
#define MAXCRASH 2
#endif
#ifndef UP1
#define UP1 1 /* depths of the channels; 2 is needed to reorder */
#endif
#ifndef DN1
#define DN1 1
#endif
#ifndef HOP2
#define HOP2 1
#endif

chan up1 = [UP1] of { byte, byte, byte, byte }; /* number, content, boot, hello: 0 none, else boot_top + 1 */
chan dn1 = [DN1] of { byte, byte, bool };       /* hwm, boot, known: else NEED_HELLO */
chan up2 = [HOP2] of { byte, byte };            /* number, content */
chan dn2 = [HOP2] of { byte };                  /* hwm */

byte crashes;

/* Device. Durable: d_durable, d_trimmed, d_boot, d_boot_top, d_answered, d_log[1..d_durable]. */
byte d_top, d_durable, d_trimmed, d_acked, d_next = 1;
byte d_boot = 1, d_boot_top;
bool d_answered = true, d_hello_acked;
byte d_log[N + 1];

/* Gateway. Durable: g_hwm, g_known_durable, g_trimmed; the outbox holds g_trimmed + 1 .. g_hwm. */
byte g_pending, g_hwm, g_known, g_known_durable;
byte g_trimmed, g_acked, g_next = 1;
byte g_log[N + 1];

/* Sink. Durable: s_rows, s_hwm. */
byte s_rows, s_hwm, s_pending;
byte s_log[N + 1];

#define NOTHING_LOST assert(d_trimmed <= g_hwm && g_trimmed <= s_rows)
#ifdef SEND_BEFORE_FSYNC
#define D_STORED d_top
#else
#define D_STORED d_durable
#endif
#ifdef NO_HOLD
#define D_LIMIT D_STORED
#else
#define D_LIMIT ((d_answered || D_STORED < d_boot_top) -> D_STORED : d_boot_top)
#endif

/* A full channel loses; the network below loses the rest. */
inline put_up1(number, content) {
    if
    :: nfull(up1) -> up1 ! number, content, d_boot, (d_hello_acked -> 0 : d_boot_top + 1)
    :: full(up1) -> skip
    fi
}
inline put_dn1(mark, boot, known) {
    if
    :: nfull(dn1) -> dn1 ! mark, boot, known
    :: full(dn1) -> skip
    fi
}
inline put_up2(number, content) {
    if
    :: nfull(up2) -> up2 ! number, content
    :: full(up2) -> skip
    fi
}
inline put_dn2(mark) {
    if
    :: nfull(dn2) -> dn2 ! mark
    :: full(dn2) -> skip
    fi
}

active proctype device() {
    byte h, b;
    bool known;
end:
    do
    :: atomic { d_top < N -> d_top++; d_log[d_top] = d_boot }
    :: d_step { d_durable < d_top -> d_durable = d_top }
    :: d_step { d_hello_acked && !d_answered -> d_answered = true }
    :: d_step { d_trimmed < d_acked -> d_trimmed = d_acked; NOTHING_LOST
#ifdef COMPLETES
        ; assert(d_trimmed < N || s_rows < N || crashes < MAXCRASH || d_boot < 2)
#endif
        }
    :: atomic { d_next <= D_LIMIT -> put_up1(d_next, d_log[d_next]); d_next++ }
    :: atomic { d_next > D_LIMIT && d_next <= D_STORED && !d_hello_acked && d_acked >= d_boot_top && d_acked > 0 ->
        put_up1(d_acked, 0) } /* carries the hello; its content must never be used */
    :: d_step { d_next > d_acked + 1 -> d_next = d_acked + 1 } /* timeout, reconnect, hole */
    :: d_step { dn1 ? h, b, known ->
        if
        :: b == d_boot && !known -> d_hello_acked = false; d_next = d_acked + 1
        :: b == d_boot && known && h <= d_top ->
            d_hello_acked = true;
            if
            :: h > d_acked -> d_acked = h
            :: else -> skip
            fi;
            if
            :: d_next <= d_acked -> d_next = d_acked + 1
            :: else -> skip
            fi
        :: else -> skip
        fi;
        h = 0; b = 0; known = false }
    :: d_step { crashes < MAXCRASH ->
        crashes++;
        d_top = d_durable;
        d_boot++;
        if
        :: d_answered -> d_boot_top = d_durable; d_answered = (d_durable == 0)
        :: else -> skip
        fi;
        d_hello_acked = false;
        d_acked = d_trimmed;
        d_next = d_trimmed + 1 }
    od
}

active proctype gateway() {
    byte n, c, b, hello, h;
end:
    do
    :: atomic { up1 ? n, c, b, hello ->
        if
        :: b != g_known && hello == 0 -> put_dn1(0, b, false) /* NEED_HELLO */
        :: b < g_known && hello != 0 -> skip                  /* STALE: a late frame */
        :: b == g_known || (b > g_known && hello != 0) ->
            assert(b == g_known || hello - 1 >= g_pending); /* else ROLLED_BACK */
            g_known = b;
            if
            :: n == g_pending + 1 -> assert(c != 0); g_pending = n; g_log[n] = c
            :: else -> skip /* DUPLICATE, HOLE */
            fi;
#ifdef ACK_BEFORE_COMMIT
            put_dn1(g_pending, b, true)
#else
            put_dn1(g_hwm, b, true)
#endif
        fi;
        n = 0; c = 0; b = 0; hello = 0 }
    :: atomic { g_hwm < g_pending || g_known_durable != g_known -> /* entries, mark and boot in one transaction */
        g_hwm = g_pending;
        g_known_durable = g_known;
        put_dn1(g_hwm, g_known, true) }
    :: atomic { g_next <= g_hwm ->
        put_up2(g_next, g_log[g_next]);
#ifdef TRIM_BEFORE_ACK
        g_trimmed = g_next;
        NOTHING_LOST;
#endif
        g_next++ }
    :: d_step { g_next > g_acked + 1 -> g_next = g_acked + 1 }
    :: d_step { dn2 ? h ->
        if
        :: h > g_acked && h <= g_hwm -> g_acked = h
        :: else -> skip
        fi;
        if
        :: g_next <= g_acked -> g_next = g_acked + 1
        :: else -> skip
        fi;
        h = 0 }
    :: d_step { g_trimmed < g_acked -> g_trimmed = g_acked; NOTHING_LOST }
    :: d_step { crashes < MAXCRASH -> /* also a commit that fails: pending goes back */
        crashes++;
        g_pending = g_hwm;
        g_known = g_known_durable;
        g_acked = g_trimmed;
        g_next = g_trimmed + 1;
        NOTHING_LOST }
    od
}

active proctype sink() {
    byte n, c;
end:
    do
    :: atomic { up2 ? n, c ->
        if
        :: n == s_pending + 1 -> s_pending = n; s_log[n] = c
        :: else -> skip
        fi;
        put_dn2(s_hwm);
        n = 0; c = 0 }
    :: atomic { s_hwm < s_pending ->
        do
        :: s_hwm < s_pending ->
            s_hwm++;
            s_rows++;
            assert(s_rows == s_hwm);              /* I2, I3 */
            assert(s_hwm <= d_durable);           /* I8 */
            assert(s_log[s_hwm] == d_log[s_hwm])  /* I8 */
        :: else -> break
        od;
        put_dn2(s_hwm) }
    :: d_step { crashes < MAXCRASH ->
        crashes++;
#ifdef SINK_WITHOUT_HWM
        s_hwm = 0;
#endif
        s_pending = s_hwm }
    od
}

/* The network: the oldest message is doubled, moved behind the others, or lost. */
active proctype network() {
    byte a, b, c, d;
    bool k;
end:
    do
    :: d_step { nempty(up1) && nfull(up1) -> up1 ? <a, b, c, d>; up1 ! a, b, c, d; a = 0; b = 0; c = 0; d = 0 }
    :: d_step { len(up1) > 1 -> up1 ? a, b, c, d; up1 ! a, b, c, d; a = 0; b = 0; c = 0; d = 0 }
    :: d_step { nempty(dn1) && nfull(dn1) -> dn1 ? <a, b, k>; dn1 ! a, b, k; a = 0; b = 0; k = false }
    :: d_step { len(dn1) > 1 -> dn1 ? a, b, k; dn1 ! a, b, k; a = 0; b = 0; k = false }
    :: d_step { nempty(up2) && nfull(up2) -> up2 ? <a, b>; up2 ! a, b; a = 0; b = 0 }
    :: d_step { len(up2) > 1 -> up2 ? a, b; up2 ! a, b; a = 0; b = 0 }
    :: d_step { nempty(dn2) && nfull(dn2) -> dn2 ? <a>; dn2 ! a; a = 0 }
    :: d_step { len(dn2) > 1 -> dn2 ? a; dn2 ! a; a = 0 }
    :: d_step { nempty(up1) -> up1 ? a, b, c, d; a = 0; b = 0; c = 0; d = 0 }
    :: d_step { nempty(dn1) -> dn1 ? a, b, k; a = 0; b = 0; k = false }
    :: d_step { nempty(up2) -> up2 ? a, b; a = 0; b = 0 }
    :: d_step { nempty(dn2) -> dn2 ? a; a = 0 }
    od
}
