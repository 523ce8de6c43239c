/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery - the delivery protocol of core/window over two hops, small enough to be searched whole.
 *
 *   device ==up1==> gateway ==up2==> sink        frames (number, hello) ; one number a frame
 *          <==dn1==         <==dn2==             acks   (high-water mark, verdict)
 *
 * Channels lose, repeat and (through late copies of a crashed sender's frames) reorder. Device, gateway and sink crash at
 * any point and restart from what they had committed. N records; MAXCRASH crashes in all.
 *
 * Record n of the device is the value n, and under SEND_BEFORE_FSYNC a record that a crash took is made anew with another
 * content: its generation is the number of starts of the device when it was made.
 *
 * Properties, asserted at every step in which they could break:
 *   I1 no loss      the sink takes n only after n - 1, and a number once trimmed by the device is in the gateway's durable
 *                   store or in the sink; a run that gets stuck short of N is an invalid end state
 *   I2 no duplicate the sink's rows rise by one each
 *   I3 order        likewise
 *   I8 no phantom   nothing in the sink is beyond the device's durable log, or of another content than the log has
 *
 * Planted mistakes (each must be found):  -DACK_BEFORE_COMMIT   the gateway answers what is only accepted
 *   -DSINK_WITHOUT_HWM   the sink keeps rows durably, but its mark only in memory
 *   -DSEND_BEFORE_FSYNC  the device sends what is only appended
 *   -DTRIM_BEFORE_ACK    the gateway trims what it has sent
 */
#ifndef N
#define N 3
#endif
#ifndef MAXCRASH
#define MAXCRASH 2
#endif
#ifndef DEPTH
#define DEPTH 2
#endif

/* number, generation, boot */
chan up1 = [DEPTH] of { byte, byte };
chan dn1 = [DEPTH] of { byte };
chan up2 = [DEPTH] of { byte, byte };
chan dn2 = [DEPTH] of { byte };

byte crashes;

/* device: top >= durable >= trimmed; next is the number to be sent */
byte d_top, d_durable, d_acked, d_next = 1, d_generation;
byte d_log[N + 1];

/* gateway: pending >= hwm (durable); the outbox is hwm's numbers above g_trimmed */
byte g_pending, g_hwm, g_trimmed, g_acked, g_next = 1;
byte g_log[N + 1];

/* sink: rows are durable, s_pending accepted into the transaction that is open */
byte s_rows, s_hwm, s_pending;
byte s_log[N + 1];

/* A frame is put into its channel, lost (full channels lose as well), or put twice. */
inline transmit2(c, number, content) {
    if
    :: nfull(c) -> c ! number, content
    :: true -> skip /* lost */
    fi
}
inline transmit1(c, value) {
    if
    :: nfull(c) -> c ! value
    :: true -> skip
    fi
}

inline forget_device() {
    d_top = d_durable;
    d_next = d_acked + 1;
    d_generation++
}
inline forget_gateway() {
    g_pending = g_hwm;
    g_acked = g_trimmed;
    g_next = g_trimmed + 1
}

active proctype device() {
    byte h;
end_device:
    do
    :: atomic { d_top < N -> d_top++; d_log[d_top] = d_generation }
    :: atomic { d_durable < d_top -> d_durable = d_top } /* group commit */
#ifdef SEND_BEFORE_FSYNC
    :: atomic { d_next <= d_top -> transmit2(up1, d_next, d_log[d_next]); d_next++ }
#else
    :: atomic { d_next <= d_durable -> transmit2(up1, d_next, d_log[d_next]); d_next++ }
#endif
    :: atomic { d_acked + 1 < d_next -> d_next = d_acked + 1 } /* timeout, reconnect, hole */
    :: atomic { dn1 ? h ->
        if
        :: h > d_acked && h <= d_top ->
            assert(h <= g_hwm); /* I10, I5: an ack never precedes the commit of what it covers */
            d_acked = h; /* trimmed with it */
            if
            :: d_next <= h -> d_next = h + 1
            :: else -> skip
            fi
        :: else -> skip /* old, absurd */
        fi;
        h = 0 }
    :: atomic { nempty(up1) && nfull(up1) -> byte n1, c1; up1 ? <n1, c1>; up1 ! n1, c1; n1 = 0; c1 = 0 } /* repeated, later */
    :: atomic { crashes < MAXCRASH && d_durable > 0 -> crashes++; forget_device() }
    od
}

active proctype gateway() {
    byte n, c, h;
end_gateway:
    do
    :: atomic { up1 ? n, c ->
        if
        :: n == g_pending + 1 -> g_pending = n; g_log[n] = c /* ACCEPT */
        :: else -> skip /* DUPLICATE, HOLE */
        fi;
#ifdef ACK_BEFORE_COMMIT
        transmit1(dn1, g_pending);
#else
        transmit1(dn1, g_hwm);
#endif
        n = 0; c = 0 }
    :: atomic { g_hwm < g_pending -> g_hwm = g_pending; transmit1(dn1, g_hwm) } /* entries and mark, one transaction */
    :: atomic { g_pending > g_hwm && crashes < MAXCRASH -> crashes++; g_pending = g_hwm } /* the commit fails */
    :: atomic { g_next <= g_hwm -> assert(g_next > g_trimmed); transmit2(up2, g_next, g_log[g_next]);
#ifdef TRIM_BEFORE_ACK
        g_trimmed = g_next;
#endif
        g_next++ }
    :: atomic { g_acked + 1 < g_next && g_trimmed < g_next - 1 ->
        g_next = (g_acked > g_trimmed -> g_acked : g_trimmed) + 1 }
    :: atomic { dn2 ? h ->
        if
        :: h > g_acked && h <= g_hwm ->
            assert(h <= s_rows);
            g_acked = h;
            if
            :: g_next <= h -> g_next = h + 1
            :: else -> skip
            fi
        :: else -> skip
        fi;
        h = 0 }
    :: atomic { g_trimmed < g_acked -> g_trimmed = g_acked } /* lazily */
    :: atomic { crashes < MAXCRASH -> crashes++; forget_gateway() }
    od
}

active proctype sink() {
    byte n, c;
end_sink:
    do
    :: atomic { up2 ? n, c ->
        if
        :: n == s_pending + 1 -> s_pending = n; s_log[n] = c
        :: else -> skip
        fi;
        transmit1(dn2, s_hwm);
        n = 0; c = 0 }
    :: atomic { s_hwm < s_pending ->
        do
        :: s_hwm < s_pending ->
            s_hwm++;
            s_rows++; /* an insert without a key would come again: rows are counted, not named */
            assert(s_rows == s_hwm);                     /* I2, I3: one row for each number, in order */
            assert(s_hwm <= d_durable);                  /* I8 */
            assert(s_log[s_hwm] == d_log[s_hwm]);        /* I8: the very record that the device has */
            assert(s_hwm <= g_hwm)                       /* I5 */
        :: else -> break
        od;
        transmit1(dn2, s_hwm) }
    :: atomic { crashes < MAXCRASH -> crashes++;
#ifdef SINK_WITHOUT_HWM
        s_hwm = 0;
#endif
        s_pending = s_hwm }
    od
}
