/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processor per frame and per record: a real mosquitto, a real weir-gateway, and in this process real agents as its
 * devices, all on 127.0.0.1 without TLS.
 *
 *   agents (real loop, native MQTT, store in memory) -> mosquitto -> weir-gateway (store on the disk in question)
 *
 * Time on the processor is the kernel's (/proc/PID/task/TID/schedstat), between two moments of a steady flow. A busier
 * plant costs less per record: more of them share a wake-up and a commit.
 */
#include "simulators/size/measure.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/bus/bus.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "device/agent/agent.h"
#include "device/report/report.h"
#include "device/sense/sense.h"

enum { DEVICES = 40, RECORDS_PER_S = 250, DISK_BYTES = 8 * 1024 * 1024, START_RECORDS = 20 };
#define SETTLE_US (500 * MS_US)
#define RUN_US (2 * SECOND_US)
#define STEP_US (400 * MS_US) /* from the broker's start to the gateway's, and from there to the devices' */
#define START_MAX_US (8 * SECOND_US)
#define BACKOFF_US (200 * MS_US)
#define LOOK_US (20 * MS_US)

extern char **environ;

enum program { BROKER, GATEWAY, PROGRAMS };
struct device {
    struct store_disk *disk;
    struct store *store;
    struct bus *bus;
    struct sense *sense;
    struct agent *agent;
    char name[16];
};
struct bench {
    const char *folder;
    const char *mosquitto, *gateway;
    uint16_t port;
    pid_t pid[PROGRAMS]; /* 0 = not running */
    struct loop *loop;
    struct loop_timer step, look;
    enum err err;
    struct device devices[DEVICES];
    enum { LISTENING, SUBSCRIBING, STARTING, SETTLING, RUNNING, OVER } phase;
    int64_t phase_ends_us;
    uint64_t records_before, records_after;
    double cpu_before[PROGRAMS], cpu_after[PROGRAMS];
};

/* ---- finding and starting ---- */

/* name beside this program, or on PATH, or where Debian keeps daemons. */
static bool find_program(const char *name, char found[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = len > 0 ? (self[len] = '\0', strrchr(self, '/')) : NULL;
    if (slash != NULL) {
        *slash = '\0';
        if (snprintf(found, PATH_MAX, "%.3000s/%s", self, name) > 0 && access(found, X_OK) == 0) {
            return true;
        }
    }
    char path[8192];
    const char *given = getenv("PATH");
    snprintf(path, sizeof path, "%.8000s:/usr/sbin:/usr/local/sbin", given != NULL ? given : "");
    char *rest = path;
    for (const char *dir; (dir = strsep(&rest, ":")) != NULL;) {
        if (dir[0] != '\0' && snprintf(found, PATH_MAX, "%.3000s/%s", dir, name) > 0 && access(found, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

static bool free_port(uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good =
        fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0;
    *ret_port = ntohs(at.sin_port);
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

static enum err write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    bool good = f != NULL && fputs(text, f) >= 0;
    if (f != NULL) {
        good = fclose(f) == 0 && good;
    }
    return good ? OK : ERR_IO;
}

/* Its output goes to FOLDER/LOG. */
static enum err start_program(struct bench *r, enum program which, const char *program, const char *flag,
                              const char *config, const char *log)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)flag, (char *)(uintptr_t)config, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) {
        return ERR_NOMEM;
    }
    int rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    rc = rc != 0 ? rc : posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    rc = rc != 0 ? rc : posix_spawn(&r->pid[which], program, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    r->pid[which] = rc == 0 ? r->pid[which] : 0;
    return rc == 0 ? OK : ERR_IO;
}

static enum err start_broker(struct bench *r)
{
    char config[PATH_MAX], log[PATH_MAX], text[256];
    snprintf(config, sizeof config, "%.3000s/broker.conf", r->folder);
    snprintf(log, sizeof log, "%.3000s/broker.log", r->folder);
    snprintf(text, sizeof text,
             "listener %u 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 100000\n",
             r->port);
    TRY(write_file(config, text));
    return start_program(r, BROKER, r->mosquitto, "-c", config, log);
}

static enum err start_gateway(struct bench *r)
{
    char config[PATH_MAX], log[PATH_MAX];
    BUFFER(text, 16 * 1024);
    snprintf(config, sizeof config, "%.3000s/gateway.yaml", r->folder);
    snprintf(log, sizeof log, "%.3000s/gateway.log", r->folder);
    buffer_printf(&text,
                  "site: size\nid: gateway\nbroker: {host: 127.0.0.1, port: %u, insecure: true}\n"
                  "store: {path: %.3000s/gateway, size: 64MiB}\ncontrol: {socket: ''}\n",
                  r->port, r->folder);
    buffer_put_u8(&text, '\0');
    TRY(buffer_err(&text));
    TRY(write_file(config, (const char *)text.ptr));
    return start_program(r, GATEWAY, r->gateway, "--config", config, log);
}

/* ---- devices ---- */

static enum err device_init(struct bench *r, struct device *d, unsigned number, struct fault *reterr)
{
    snprintf(d->name, sizeof d->name, "size-%u", number);
    const struct bus_options bus = {
        .host = "127.0.0.1", .port = r->port, .client_id = d->name, .backoff_max_us = BACKOFF_US};
    const struct sense_options sense = {.driver = "pattern", .channels = 6};
    const struct agent_options options = {.report = {.site = "size",
                                                     .gateway = "gateway",
                                                     .device = d->name,
                                                     .software = "size",
                                                     .samples_per_record = 1},
                                          .period_us = SECOND_US / RECORDS_PER_S};
    TRY(store_disk_new(DISK_BYTES, &d->disk));
    TRY(store_open_memory(r->loop, d->disk, REPORT_TABLE_COUNT, &d->store));
    TRY(bus_new(BUS_NATIVE, r->loop, &bus, &d->bus, reterr));
    TRY(sense_open(r->loop, &sense, &d->sense, reterr));
    return agent_new(r->loop, d->bus, d->store, d->sense, &options, &d->agent, reterr);
}

static void device_deinit(struct device *d)
{
    agent_free(d->agent);
    bus_free(d->bus);
    sense_close(d->sense);
    store_close(d->store);
    store_disk_free(d->disk);
}

/* Acknowledged in all; *ret_least: by the one that is furthest behind. */
static uint64_t acknowledged(const struct bench *r, uint64_t *ret_least)
{
    uint64_t all = 0;
    *ret_least = UINT64_MAX;
    for (size_t i = 0; i < DEVICES; i++) {
        struct report_stats stats;
        report_stats(agent_report(r->devices[i].agent), &stats);
        all += stats.lane[1].acked;
        *ret_least = min_u64(*ret_least, stats.lane[1].acked);
    }
    return all;
}

/* ---- the course of things ---- */

/* Seconds on the processor, all threads. */
static double cpu_of(pid_t pid)
{
    char path[64], file[400];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = pid != 0 ? opendir(path) : NULL;
    double sum = 0;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        unsigned long long ns;
        snprintf(file, sizeof file, "%s/%s/schedstat", path, e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(file, "re") : NULL;
        if (f != NULL) {
            sum += fscanf(f, "%llu", &ns) == 1 ? (double)ns / 1e9 : 0;
            (void)fclose(f);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return sum;
}

static uint64_t snapshot(const struct bench *r, double cpu[PROGRAMS])
{
    uint64_t least;
    for (enum program p = 0; p < PROGRAMS; p++) {
        cpu[p] = cpu_of(r->pid[p]);
    }
    return acknowledged(r, &least);
}

static enum err start_devices(struct bench *r)
{
    for (size_t i = 0; i < DEVICES; i++) {
        TRY(bus_start(r->devices[i].bus));
    }
    return OK;
}

/* A receiver that is not there yet would cost the devices a time-out. */
static void on_step(void *arg)
{
    struct bench *r = arg;
    r->err = r->phase == LISTENING ? start_gateway(r) : start_devices(r);
    r->phase = r->phase == LISTENING ? SUBSCRIBING : STARTING;
    if (r->err != OK) {
        loop_stop(r->loop);
    } else if (r->phase == SUBSCRIBING) {
        loop_timer_in(&r->step, STEP_US);
    } else {
        r->phase_ends_us = loop_now_us(r->loop) + START_MAX_US;
        loop_timer_in(&r->look, LOOK_US);
    }
}

static void on_look(void *arg)
{
    struct bench *r = arg;
    int64_t now_us = loop_now_us(r->loop);
    uint64_t least;
    (void)acknowledged(r, &least);
    if (r->phase == STARTING && least >= START_RECORDS) {
        r->phase = SETTLING;
        r->phase_ends_us = now_us + SETTLE_US;
    } else if (r->phase == SETTLING && now_us >= r->phase_ends_us) {
        r->phase = RUNNING;
        r->phase_ends_us = now_us + RUN_US;
        r->records_before = snapshot(r, r->cpu_before);
    } else if (now_us >= r->phase_ends_us) {
        r->records_after = r->phase == RUNNING ? snapshot(r, r->cpu_after) : 0;
        r->phase = OVER;
        loop_stop(r->loop);
        return;
    }
    loop_timer_in(&r->look, LOOK_US);
}

/* What was started must not stay behind. */
static void on_signal(void *arg, int signo)
{
    struct bench *r = arg;
    (void)signo;
    r->err = ERR_AGAIN;
    loop_stop(r->loop);
}

static enum err run(struct bench *r, struct fault *reterr)
{
    if (!free_port(&r->port)) {
        return fault_set(reterr, ERR_IO, "no free port on 127.0.0.1");
    }
    TRY(loop_new(&r->loop));
    TRY(loop_on_signal(r->loop, SIGINT, on_signal, r));
    TRY(loop_on_signal(r->loop, SIGTERM, on_signal, r));
    if (start_broker(r) != OK) {
        return fault_set(reterr, ERR_IO, "%s cannot be started", r->mosquitto);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        TRY(device_init(r, &r->devices[i], i, reterr));
    }
    loop_timer_init(&r->look, r->loop, on_look, r);
    loop_timer_init(&r->step, r->loop, on_step, r);
    loop_timer_in(&r->step, STEP_US);
    TRY(loop_run(r->loop));
    if (r->err != OK) {
        return r->err == ERR_AGAIN ? fault_set(reterr, r->err, "interrupted")
                                   : fault_set(reterr, r->err, "%s cannot be started", r->gateway);
    }
    return r->records_after > r->records_before
               ? OK
               : fault_set(reterr, ERR_TIMEOUT, "mosquitto or weir-gateway takes no records");
}

static void stop_program(pid_t pid)
{
    if (pid != 0) {
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

static void bench_deinit(struct bench *r)
{
    if (r->loop != NULL) {
        loop_timer_cancel(&r->look);
        loop_timer_cancel(&r->step);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        device_deinit(&r->devices[i]);
    }
    loop_free(r->loop);
    for (enum program p = 0; p < PROGRAMS; p++) {
        stop_program(r->pid[p]);
    }
}

/* Seconds of processor per record, of each program. */
static enum err cpu_per_record(const struct size_settings *s, struct bench *r, double ret_cpu[PROGRAMS],
                               struct fault *reterr)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.3000s/weir-size-XXXXXX", s->measure_path);
    if (mkdtemp(folder) == NULL) {
        return fault_set(reterr, ERR_IO, "no folder can be made in measure_path %s", s->measure_path);
    }
    r->folder = folder;
    enum err err = run(r, reterr);
    for (enum program p = 0; p < PROGRAMS && err == OK; p++) {
        ret_cpu[p] = (r->cpu_after[p] - r->cpu_before[p]) / (double)(r->records_after - r->records_before);
    }
    bench_deinit(r);
    measure_clear(folder);
    return err;
}

enum err measure_programs(const struct size_settings *s, struct size_constants *c, struct buffer *notes,
                          struct fault *reterr)
{
    char mosquitto[PATH_MAX], gateway[PATH_MAX], source[120];
    double cpu[PROGRAMS] = {0};
    bool broker_found = find_program("mosquitto", mosquitto);
    if (!broker_found || !find_program("weir-gateway", gateway)) {
        buffer_printf(notes, "programs: skipped, no %s beside this program or on PATH\n",
                      broker_found ? "weir-gateway" : "mosquitto");
        return OK;
    }
    struct bench *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->mosquitto = mosquitto;
    r->gateway = gateway;
    enum err err = cpu_per_record(s, r, cpu, reterr);
    free(r);
    TRY(err);
    snprintf(source, sizeof source, "measured: %d devices, %d records/s, no TLS", DEVICES, DEVICES * RECORDS_PER_S);
    measure_set(c, SIZE_BROKER_CPU, cpu[BROKER], source);
    measure_set(c, SIZE_GATEWAY_CPU, cpu[GATEWAY], source);
    measure_set(c, SIZE_UPLINK_CPU, cpu[GATEWAY], "taken as a record taken in");
    buffer_printf(notes, "programs: broker %.1f us a frame with its answer, gateway %.1f us a record taken in (%s)\n",
                  cpu[BROKER] * 1e6, cpu[GATEWAY] * 1e6, source + strlen("measured: "));
    return OK;
}
