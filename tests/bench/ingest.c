/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a gateway takes durably per second, beside what a subscriber receives that throws everything away, on the
 * same broker with the same messages.
 *
 * Publishers: N raw MQTT connections in one thread (epoll), each a device that speaks the delivery protocol: frames of
 * one record, a window of frames under way, go-back-N from the answers. mode raw: a child process subscribes and counts;
 * the publishers keep as many messages under way as in mode weir, by the child's counter in shared memory.
 * --poll-us: the raw subscriber sleeps so long after each read; it then takes many messages at once and leaves the
 * processor to the broker.
 * --qos 1: published with QoS 1 (the subscriber stays at 0), to see what the broker pays for it.
 * Closed loop (--rate 0): as fast as the window allows. Open loop (--rate R): messages are due at fixed times, and
 * latency counts from the time a message was due (no coordinated omission) to the time its answer was read.
 * The publishers stand for many machines but run beside the broker on this one, so in both modes they look every LOOK_US
 * and sleep in between, instead of being woken for every answer; what that adds to a latency is counted, not taken off.
 *
 *   bench-ingest --mode raw|weir --port P --devices N --size BYTES --seconds S [--window W] [--rate R] [--poll-us U] [--qos 0|1]
 *                [--broker-pid PID] [--gateway-pid PID] [--describe]
 *
 * --describe: a device's first record names its channels (c0, c1, ...), so that a gateway's rules find them.
 *
 * Closing line: mode= devices= size= rate= (messages received or acknowledged per second) p50_us= p99_us= broker_us=
 * receiver_us= publisher_us= (CPU per message) answers= (per message) sent= repeated= lost= bytes_per_message=
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/buffer.h"
#include "proto/block/block.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"

enum { RING = 4096, POOL = 64, HISTOGRAM = 64 * 64, OUT_BYTES = 64 * 1024, IN_BYTES = 16 * 1024 };
#define LOOK_US INT64_C(500)
#define LOOK_OPEN_US INT64_C(200) /* open loop: a fifth of a millisecond is small beside what is measured */

struct device {
    uint64_t epoch, next, acked, high, top; /* open loop: top = last record that is due */
    int64_t progress_us;
    int64_t *due_us; /* RING: when the frame was sent, or was due; by number */
    uint8_t *out, *in;
    size_t out_len, out_at, in_len;
    unsigned unasked; /* frames since the last one that may not wait for its answer */
    int fd;
    bool writable_wanted;
    char id[16], topic[TOPIC_MAX + 1];
};

static struct {
    bool weir;
    unsigned port, devices, size, window, poll_us, qos;
    double seconds, rate;
    int broker_pid, gateway_pid;
    bool describe;
} o = {.port = 1883, .devices = 50, .size = 64, .window = 2000, .seconds = 2};

static struct device *devices;
static struct slice pool[POOL], description; /* empty without --describe */
static int epoll_fd;
static uint64_t histogram[HISTOGRAM], received, answers, sent, repeated, sent_bytes, lost;
static volatile uint64_t *counted; /* shared with the raw subscriber */

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND_US + t.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "bench-ingest: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* CPU time of all threads of a process, microseconds (schedstat counts on-CPU nanoseconds). */
static double cpu_us(int pid)
{
    char path[320];
    double total = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = pid > 0 ? opendir(path) : NULL;
    for (struct dirent *e; tasks != NULL && (e = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
        unsigned long long ns = 0;
        if (f != NULL) {
            if (fscanf(f, "%llu", &ns) == 1) {
                total += (double)ns / 1000;
            }
            fclose(f);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return total;
}

/* ---- records: real blocks, padded to the wanted size by an unknown field ---- */
static struct slice pack(const Weir__V1__Record *record)
{
    BUFFER(out, 4096);
    if (wire_record_pack(record, &out) != OK) {
        die("wire_record_pack");
    }
    uint8_t *copy = malloc(out.len);
    memcpy(copy, out.ptr, out.len);
    return slice_of(copy, out.len);
}

/* The set of the description that goes ahead of a device's blocks. */
static uint32_t make_description(unsigned channels)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__ChannelInfo infos[8], *list[8];
    Weir__V1__Record r = WEIR__V1__RECORD__INIT;
    char names[8][4];
    for (unsigned c = 0; c < channels; c++) {
        weir__v1__channel_info__init(&infos[c]);
        snprintf(names[c], sizeof(names[c]), "c%u", c);
        infos[c].name = names[c];
        infos[c].resolution = 0.01;
        list[c] = &infos[c];
    }
    d.n_channel = channels;
    d.channel = list;
    d.boot_id = 1;
    d.set = wire_describe_set(&d);
    r.schema = WIRE_SCHEMA;
    r.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    r.describe = &d;
    description = pack(&r);
    return d.set;
}

static void make_pool(void)
{
    unsigned channels = o.size >= 256 ? 8 : 2, samples = o.size >= 256 ? 32 : 8;
    uint32_t set = o.describe ? make_description(channels) : 1;
    for (unsigned p = 0; p < POOL; p++) {
        int64_t values[8 * 32];
        double resolutions[8];
        for (unsigned c = 0; c < channels; c++) {
            resolutions[c] = 0.01;
            for (unsigned i = 0; i < samples; i++) {
                values[c * samples + i] = 2000 + (int64_t)(mix_u64(p * 1000 + c * 64 + i) % 1024);
            }
        }
        BUFFER(columns, 4096);
        BUFFER(record, 4096);
        if (block_encode(values, resolutions, channels, samples, &columns) != OK) {
            die("block_encode");
        }
        Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
        block.set = set;
        block.wall_us = 1767225600000000;
        block.mono_us = 1000000;
        block.samples = samples;
        block.period_us = 1000;
        block.columns.data = columns.ptr;
        block.columns.len = columns.len;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
        r.block = &block;
        if (wire_record_pack(&r, &record) != OK) {
            die("wire_record_pack");
        }
        if (record.len + 4 < o.size) { /* field 100, bytes */
            size_t pad = o.size - record.len - (o.size - record.len > 130 ? 4 : 3);
            buffer_put_varint(&record, 100 << 3 | 2);
            buffer_put_varint(&record, pad);
            memset(buffer_extend(&record, pad), 0, pad);
        }
        uint8_t *copy = malloc(record.len);
        memcpy(copy, record.ptr, record.len);
        pool[p] = slice_of(copy, record.len);
    }
}

/* ---- a little MQTT 3.1.1 ---- */
static int connect_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        die("connect to the broker");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void put_header(struct buffer *b, uint8_t type, size_t length)
{
    buffer_put_u8(b, type);
    buffer_put_varint(b, length);
}
static void put_text(struct buffer *b, const char *text)
{
    buffer_put_u8(b, (uint8_t)(strlen(text) >> 8));
    buffer_put_u8(b, (uint8_t)strlen(text));
    buffer_put_str(b, text);
}

static void mqtt_open(int fd, const char *id, const char *filter)
{
    BUFFER(b, 1024);
    put_header(&b, 0x10, 12 + strlen(id));
    put_text(&b, "MQTT");
    buffer_put(&b, "\x04\x02\x00\x00", 4);
    put_text(&b, id);
    if (filter != NULL) {
        put_header(&b, 0x82, 5 + strlen(filter));
        buffer_put(&b, "\x00\x01", 2);
        put_text(&b, filter);
        buffer_put_u8(&b, 0);
    }
    if (write(fd, b.ptr, b.len) != (ssize_t)b.len) {
        die("write");
    }
    uint8_t answer[9];
    size_t want = filter ? 9 : 4, got = 0;
    while (got < want) {
        ssize_t n = read(fd, answer + got, want - got);
        if (n <= 0) {
            die("CONNACK/SUBACK");
        }
        got += (size_t)n;
    }
    if (answer[3] != 0) {
        die("refused by the broker");
    }
}

/* Length of the first whole packet, 0 if there is none; *ret_head = bytes of its fixed header. */
static size_t packet(const uint8_t *p, size_t len, size_t *ret_head)
{
    size_t value = 0;
    for (size_t i = 1; i < len && i < 5; i++) {
        value |= (size_t)(p[i] & 0x7f) << (7 * (i - 1));
        if (p[i] < 0x80) {
            *ret_head = i + 1;
            return i + 1 + value <= len ? i + 1 + value : 0;
        }
    }
    return 0;
}

static void subscriber(void)
{
    int fd = connect_tcp();
    mqtt_open(fd, "raw-subscriber", "weir/v1/bench/gw1/+/tele");
    static uint8_t in[1 << 20];
    size_t len = 0;
    *counted = 0;
    counted[1] = 1;
    for (;;) {
        ssize_t n = read(fd, in + len, sizeof(in) - len);
        if (n <= 0) {
            _exit(0);
        }
        len += (size_t)n;
        size_t at = 0, head = 0, count = 0;
        for (size_t size; (size = packet(in + at, len - at, &head)) > 0; at += size) {
            count += (in[at] & 0xf0) == 0x30;
        }
        memmove(in, in + at, len - at);
        len -= at;
        __atomic_add_fetch(counted, count, __ATOMIC_RELAXED);
        if (o.poll_us > 0) {
            usleep(o.poll_us); /* let a batch gather, as a busy receiver does */
        }
    }
}

/* ---- publishing ---- */
static void want_write(struct device *d, bool want)
{
    if (want != d->writable_wanted) {
        d->writable_wanted = want;
        struct epoll_event e = {.events = EPOLLIN | (want ? EPOLLOUT : 0), .data.ptr = d};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, d->fd, &e);
    }
}

static void flush(struct device *d)
{
    while (d->out_at < d->out_len) {
        ssize_t n = send(d->fd, d->out + d->out_at, d->out_len - d->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0) {
            if (n < 0 && errno != EAGAIN) {
                die("publisher's connection");
            }
            want_write(d, true);
            return;
        }
        d->out_at += (size_t)n;
    }
    d->out_at = d->out_len = 0;
    want_write(d, false);
}

static unsigned window_each(void)
{
    unsigned each = o.window / o.devices > 0 ? o.window / o.devices : 1;
    return each < RING ? each : RING - 1;
}

/* top: in the closed loop each device is behind and has more to send. */
static bool send_frame(struct device *d, int64_t due, uint64_t top, unsigned per_device)
{
    static struct buffer frame = {.max = 8192}, b = {.max = 16384};
    buffer_reset(&frame);
    buffer_reset(&b);
    struct window_header h = {.epoch = d->epoch, .first = d->next, .last = d->next, .base = d->acked + 1, .top = top,
                              .boot = 1, .lane = 1, .has_hello = d->acked == 0, .boot_seq = 1};
    h.may_wait = top > d->next && d->unasked + 1 < (per_device + 1) / 2; /* as core/window's sender */
    struct slice body = description.len > 0 && d->next == 1 ? description : pool[d->next % POOL];
    if (wire_frame_encode(d->id, &h, "bench", &body, 1, &frame) != OK) {
        die("wire_frame_encode");
    }
    put_header(&b, o.qos ? 0x32 : 0x30, 2 + strlen(d->topic) + (o.qos ? 2 : 0) + frame.len);
    put_text(&b, d->topic);
    if (o.qos) { /* PUBACKs are read and ignored */
        buffer_put_u8(&b, (uint8_t)(d->next >> 8));
        buffer_put_u8(&b, (uint8_t)(d->next | 1));
    }
    buffer_put(&b, frame.ptr, frame.len);
    if (d->out_len + b.len > OUT_BYTES) {
        return false;
    }
    memcpy(d->out + d->out_len, b.ptr, b.len);
    d->out_len += b.len;
    if (d->next > d->high) {
        d->high = d->next;
        if (o.rate == 0) {
            d->due_us[d->next % RING] = due;
        }
        sent++;
    } else {
        repeated++;
    }
    sent_bytes += b.len;
    d->unasked = h.may_wait ? d->unasked + 1 : 0;
    d->next++;
    return true;
}

/* Open loop: what is due, as far as the window lets it through. */
static void send_due(struct device *d, unsigned per_device)
{
    while (d->next <= d->top && d->next <= d->acked + per_device && d->out_len < OUT_BYTES / 2 &&
           send_frame(d, 0, d->top, per_device)) {
    }
    if (d->out_len > d->out_at) {
        flush(d);
    }
}

static void count_latency(int64_t us)
{
    unsigned slot = us <= 0 ? 0 : (unsigned)us;
    if (us >= 64) { /* log-linear: 64 slots per power of two */
        unsigned power = 63 - (unsigned)__builtin_clzll((uint64_t)us);
        slot = (power - 5) * 64 + (unsigned)((uint64_t)us >> (power - 6) & 63);
    }
    histogram[slot < HISTOGRAM ? slot : HISTOGRAM - 1]++;
}

static double quantile(double q)
{
    uint64_t total = 0, sum = 0;
    for (unsigned i = 0; i < HISTOGRAM; i++) {
        total += histogram[i];
    }
    for (unsigned i = 0; i < HISTOGRAM; i++) {
        sum += histogram[i];
        if (total > 0 && (double)sum >= q * (double)total) {
            return i < 64 ? i : (double)((uint64_t)(64 + i % 64) << (i / 64 + 5 - 6));
        }
    }
    return 0;
}

static void on_ack(struct device *d, struct slice payload, int64_t now)
{
    struct wire_ack ack;
    if (wire_ack_decode(payload, &ack) != OK || ack.epoch != d->epoch || ack.hwm > d->high) {
        return;
    }
    answers++;
    if (ack.hwm > d->acked) {
        for (uint64_t n = d->acked + 1; n <= ack.hwm && ack.hwm - d->acked <= RING; n++) {
            count_latency(now - d->due_us[n % RING]);
        }
        received += ack.hwm - d->acked;
        d->acked = ack.hwm;
        d->progress_us = now;
        d->next = d->next > d->acked ? d->next : d->acked + 1;
        if (d->next <= d->top) {
            send_due(d, window_each());
        }
    } else if (ack.verdict == WINDOW_HOLE || ack.verdict == WINDOW_FULL || ack.verdict == WINDOW_NEED_HELLO) {
        if (now - d->progress_us > 50 * MS_US) {
            d->next = d->acked + 1;
            d->progress_us = now;
        }
    }
}

static void on_readable(struct device *d, int64_t now)
{
    ssize_t n = read(d->fd, d->in + d->in_len, IN_BYTES - d->in_len);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("publisher's connection closed");
    }
    d->in_len += n > 0 ? (size_t)n : 0;
    size_t at = 0, head = 0;
    for (size_t size; (size = packet(d->in + at, d->in_len - at, &head)) > 0; at += size) {
        if ((d->in[at] & 0xf0) == 0x30) {
            size_t topic = (size_t)d->in[at + head] << 8 | d->in[at + head + 1];
            on_ack(d, slice_of(d->in + at + head + 2 + topic, size - head - 2 - topic), now);
        }
    }
    memmove(d->in, d->in + at, d->in_len - at);
    d->in_len -= at;
}

static void open_devices(void)
{
    devices = calloc(o.devices, sizeof(*devices));
    epoll_fd = epoll_create1(0);
    for (unsigned i = 0; i < o.devices; i++) {
        struct device *d = &devices[i];
        snprintf(d->id, sizeof(d->id), "d%05u", i);
        char filter[TOPIC_MAX + 1];
        topic_format("bench", "gw1", d->id, TOPIC_TELE, d->topic);
        topic_format("bench", "gw1", d->id, TOPIC_ACK, filter);
        d->epoch = mix_u64((uint64_t)now_us() + i) | 1;
        d->next = 1;
        d->out = malloc(OUT_BYTES);
        d->in = malloc(IN_BYTES);
        d->due_us = calloc(RING, sizeof(*d->due_us));
        d->fd = connect_tcp();
        mqtt_open(d->fd, d->id, o.weir ? filter : NULL);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = d};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, d->fd, &e);
        d->progress_us = now_us();
    }
}

/* Whatever has come, and what could not be written before. */
static void look(void)
{
    static struct epoll_event events[1024];
    int n;
    do {
        n = epoll_wait(epoll_fd, events, 1024, 0);
        int64_t now = now_us();
        for (int i = 0; i < n; i++) {
            struct device *d = events[i].data.ptr;
            if (events[i].events & EPOLLIN) {
                on_readable(d, now);
            }
            if (events[i].events & EPOLLOUT) {
                flush(d);
            }
        }
    } while (n == 1024);
}

/* Timeout: repeats from the last answer. */
static void repeat_unanswered(int64_t now)
{
    static int64_t looked_us;
    if (now - looked_us < 100 * MS_US) {
        return;
    }
    looked_us = now;
    for (struct device *d = devices; d < devices + o.devices; d++) {
        if (d->next > d->acked + 1 && now - d->progress_us > 2 * SECOND_US) {
            d->next = d->acked + 1;
            d->progress_us = now;
        }
    }
}

/* As much as the windows let through, without end. */
static void publish_closed(unsigned per_device, uint64_t base, int64_t now)
{
    static unsigned at;
    for (unsigned turn = 0; turn < o.devices && (o.weir || sent - base < o.window); turn++) {
        struct device *d = &devices[at];
        at = at + 1 == o.devices ? 0 : at + 1;
        uint64_t until = d->acked + per_device;
        for (unsigned burst = 0; burst < per_device && d->out_len < OUT_BYTES / 2; burst++) {
            bool room = o.weir ? d->next <= until : sent - base < o.window;
            if (!room || !send_frame(d, now, d->next + per_device, per_device)) {
                break;
            }
        }
        if (d->out_len > d->out_at) {
            flush(d);
        }
    }
}

/* What is due, a record of each device in turn. What its window has no room for waits at the device. */
static void publish_open(unsigned per_device, int64_t start, double *due_next, int64_t now)
{
    static unsigned at;
    while (start + (int64_t)*due_next <= now) {
        struct device *d = &devices[at];
        if (d->top - d->acked >= RING - 1) {
            return; /* hopelessly behind */
        }
        d->top++;
        d->due_us[d->top % RING] = start + (int64_t)*due_next;
        send_due(d, per_device);
        at = at + 1 == o.devices ? 0 : at + 1;
        *due_next += 1e6 / o.rate;
    }
}

static void run(int64_t end)
{
    unsigned per_device = window_each();
    int64_t start = now_us(), moved_us = start;
    uint64_t base_before = 0;
    double due_next = 0;
    for (int64_t now = start; now < end; now = now_us()) {
        uint64_t base = o.weir ? received : __atomic_load_n(counted, __ATOMIC_RELAXED) + lost;
        if (base != base_before) {
            base_before = base;
            moved_us = now;
        } else if (!o.weir && now - moved_us > 100 * MS_US) {
            lost += sent - base; /* QoS 0: the broker threw them away */
        }
        if (o.weir) {
            repeat_unanswered(now);
        }
        if (o.rate > 0) {
            publish_open(per_device, start, &due_next, now);
        } else {
            publish_closed(per_device, base, now);
        }
        usleep(o.rate > 0 ? LOOK_OPEN_US : LOOK_US);
        look();
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"mode", 1, 0, 'm'},        {"port", 1, 0, 'p'},   {"devices", 1, 0, 'd'},
                                          {"size", 1, 0, 's'},        {"seconds", 1, 0, 't'}, {"window", 1, 0, 'w'},
                                          {"rate", 1, 0, 'r'},        {"poll-us", 1, 0, 'u'},     {"qos", 1, 0, 'q'},        {"broker-pid", 1, 0, 'b'},
                                          {"gateway-pid", 1, 0, 'g'}, {"describe", 0, 0, 'D'}, {0}};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (c) {
        case 'm': o.weir = strcmp(optarg, "weir") == 0; break;
        case 'p': o.port = (unsigned)atoi(optarg); break;
        case 'd': o.devices = (unsigned)atoi(optarg); break;
        case 's': o.size = (unsigned)atoi(optarg); break;
        case 't': o.seconds = atof(optarg); break;
        case 'w': o.window = (unsigned)atoi(optarg); break;
        case 'u': o.poll_us = (unsigned)atoi(optarg); break;
        case 'q': o.qos = (unsigned)atoi(optarg); break;
        case 'r': o.rate = atof(optarg); break;
        case 'b': o.broker_pid = atoi(optarg); break;
        case 'g': o.gateway_pid = atoi(optarg); break;
        case 'D': o.describe = true; break;
        default: return 2;
        }
    }
    if (o.devices == 0 || o.devices > 15000 || o.size < 64 || o.size > 4096 || o.seconds <= 0 || o.seconds > 3600 || o.qos > 1) {
        fprintf(stderr, "bench-ingest: devices 1..15000, size 64..4096, seconds up to 3600\n");
        return 2;
    }
    struct rlimit files = {0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    counted = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make_pool();
    pid_t child = 0;
    if (!o.weir) {
        child = fork();
        if (child == 0) {
            subscriber();
        }
        while (counted[1] == 0) {
            usleep(1000);
        }
    }
    open_devices();
    run(now_us() + (int64_t)(o.seconds * 0.25e6)); /* warm-up */
    memset(histogram, 0, sizeof(histogram));
    uint64_t before = o.weir ? received : *counted, sent_before = sent, answers_before = answers;
    double broker = cpu_us(o.broker_pid), gateway = cpu_us(o.weir ? o.gateway_pid : child), publisher = cpu_us(getpid());
    int64_t start = now_us();
    run(start + (int64_t)(o.seconds * 1e6));
    double seconds = (double)(now_us() - start) / 1e6;
    uint64_t count = (o.weir ? received : *counted) - before;
    double per = count > 0 ? 1.0 / (double)count : 0;
    printf("mode=%s devices=%u size=%u rate=%.0f p50_us=%.0f p99_us=%.0f broker_us=%.2f receiver_us=%.2f "
           "publisher_us=%.2f answers=%.3f sent=%llu "
           "repeated=%llu lost=%llu bytes_per_message=%.0f\n",
           o.weir ? "weir" : "raw", o.devices, o.size, (double)count / seconds, quantile(0.5), quantile(0.99),
           (cpu_us(o.broker_pid) - broker) * per, (cpu_us(o.weir ? o.gateway_pid : child) - gateway) * per,
           (cpu_us(getpid()) - publisher) * per, (double)(answers - answers_before) * per,
           (unsigned long long)(sent - sent_before), (unsigned long long)repeated, (unsigned long long)lost,
           sent > 0 ? (double)sent_bytes / (double)(sent + repeated) : 0);
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return count > 0 ? 0 : 1;
}
