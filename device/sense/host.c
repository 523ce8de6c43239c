/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host - the machine that the agent runs on, from /proc and /sys.
 *
 *   cpu_busy        %      share of all CPUs that was not idle since the last sample      proc/stat
 *   memory_used     KiBy   MemTotal - MemAvailable                                        proc/meminfo
 *   load_1m         1      run queue, mean of a minute                                    proc/loadavg
 *   processes       1                                                                     proc/<pid>
 *   disk_read, disk_write  By/s   whole disks; no partitions, loops, mapped devices       proc/diskstats
 *   net_rx, net_tx         By/s   all interfaces but loopback and local virtual ones      proc/net/dev
 *   temperature_<type>     Cel    thermal zones, or sensors of hwmon where there are none sys/class/...
 *
 * A source that is missing at open has no channel; one that vanishes later gives NaN. Rates are differences to the
 * sample before; a counter that runs backwards (a disk was taken out) gives NaN once.
 * Source: proc(5); Linux Documentation/admin-guide/iostats.rst, ABI/testing/sysfs-class-thermal, hwmon/sysfs-interface.
 */
#include "device/sense/sense_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { TEXT_BYTES = 64 * 1024, TEMPERATURES_MAX = 16, SECTOR_BYTES = 512 /* in diskstats, whatever the disk's own */ };

struct cpu_ticks {
    uint64_t total, idle;
};
struct counters {
    uint64_t a, b; /* read and written, received and sent */
};
struct host {
    char root[PATH_MAX / 2]; /* "" = / */
    int cpu, memory, load, processes, disk, net, temperature; /* first channel of each, -1 = none */
    unsigned temperature_count;
    char temperature_path[TEMPERATURES_MAX][160];
    DIR *proc; /* kept open: rewinding allocates nothing */
    struct cpu_ticks last_cpu;
    struct counters last_disk, last_net;
    bool have_cpu, have_disk, have_net;
    int64_t last_us;
    char text[TEXT_BYTES];
};

static void path_join(const struct host *h, const char *path, char ret_path[PATH_MAX])
{
    snprintf(ret_path, PATH_MAX, "%.2047s%.2000s", h->root, path);
}

/* Reads the start of a file into h->text, NUL-terminated. */
static bool text_read(struct host *h, const char *path)
{
    char full[PATH_MAX];
    path_join(h, path, full);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = 0;
    ssize_t got;
    while (len < TEXT_BYTES - 1 && (got = read(fd, h->text + len, TEXT_BYTES - 1 - len)) > 0) {
        len += (size_t)got;
    }
    close(fd);
    h->text[len] = '\0';
    return len > 0;
}

static char *next_line(char *line)
{
    char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

static bool cpu_read(struct host *h, struct cpu_ticks *ret_ticks)
{
    unsigned long long user, nice, system, idle, wait, irq, softirq, steal;
    if (!text_read(h, "/proc/stat") ||
        sscanf(h->text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq,
               &softirq, &steal) != 8) {
        return false;
    }
    ret_ticks->idle = idle + wait;
    ret_ticks->total = user + nice + system + idle + wait + irq + softirq + steal;
    return true;
}

static bool memory_read(struct host *h, double *ret_kib)
{
    if (!text_read(h, "/proc/meminfo")) {
        return false;
    }
    unsigned long long total = 0, available = 0;
    for (char *line = h->text; *line != '\0'; line = next_line(line)) {
        (void)sscanf(line, "MemTotal: %llu kB", &total);
        (void)sscanf(line, "MemAvailable: %llu kB", &available);
    }
    *ret_kib = (double)total - (double)available;
    return total > 0 && available > 0;
}

static bool load_read(struct host *h, double *ret_load)
{
    return text_read(h, "/proc/loadavg") && sscanf(h->text, "%lf", ret_load) == 1;
}

static bool processes_read(struct host *h, double *ret_count)
{
    if (h->proc == NULL) {
        return false;
    }
    rewinddir(h->proc);
    unsigned count = 0;
    for (struct dirent *e; (e = readdir(h->proc)) != NULL;) {
        count += e->d_name[0] >= '1' && e->d_name[0] <= '9';
    }
    *ret_count = count;
    return count > 0;
}

static bool starts_with_one_of(const char *name, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0) {
            return true;
        }
    }
    return false;
}

/* Devices that only pass on to others would count everything twice. */
static bool whole_disk(const struct host *h, const char *name)
{
    static const char *const passing_on[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd", NULL};
    if (starts_with_one_of(name, passing_on)) {
        return false;
    }
    char path[PATH_MAX], full[PATH_MAX];
    snprintf(path, sizeof path, "/sys/block/%.64s", name);
    path_join(h, path, full);
    return access(full, F_OK) == 0;
}

static bool disk_read(struct host *h, struct counters *ret_bytes)
{
    if (!text_read(h, "/proc/diskstats")) {
        return false;
    }
    bool any = false;
    *ret_bytes = (struct counters){0};
    for (char *line = h->text; *line != '\0'; line = next_line(line)) {
        char name[65];
        unsigned long long sectors_read, sectors_written;
        if (sscanf(line, "%*u %*u %64s %*u %*u %llu %*u %*u %*u %llu", name, &sectors_read, &sectors_written) == 3 &&
            whole_disk(h, name)) {
            ret_bytes->a += sectors_read * SECTOR_BYTES;
            ret_bytes->b += sectors_written * SECTOR_BYTES;
            any = true;
        }
    }
    return any;
}

static bool net_read(struct host *h, struct counters *ret_bytes)
{
    static const char *const local[] = {"lo", "ifb", "dummy", "veth", "docker", "br-", "virbr", NULL};
    if (!text_read(h, "/proc/net/dev")) {
        return false;
    }
    bool any = false;
    *ret_bytes = (struct counters){0};
    for (char *line = h->text; *line != '\0'; line = next_line(line)) {
        char name[33];
        unsigned long long rx, tx;
        if (sscanf(line, " %32[^: ]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &rx, &tx) == 3 &&
            !starts_with_one_of(name, local)) {
            ret_bytes->a += rx;
            ret_bytes->b += tx;
            any = true;
        }
    }
    return any;
}

static bool temperature_read(struct host *h, const char *path, double *ret_celsius)
{
    double milli_c;
    if (!text_read(h, path) || sscanf(h->text, "%lf", &milli_c) != 1) {
        return false;
    }
    *ret_celsius = milli_c / 1000;
    return true;
}

static enum err temperature_add(struct sense *sense, const char *path, const char *label_path)
{
    struct host *h = sense->state;
    double celsius;
    if (h->temperature_count == TEMPERATURES_MAX || !temperature_read(h, path, &celsius)) {
        return OK;
    }
    char label[24] = "", name[SENSE_NAME_MAX + 1];
    if (text_read(h, label_path)) {
        (void)sscanf(h->text, "%23[^\n]", label);
    }
    snprintf(name, sizeof name, "temperature%s%s", label[0] ? "_" : "", label);
    snprintf(h->temperature_path[h->temperature_count], sizeof h->temperature_path[0], "%s", path);
    h->temperature_count++;
    return sense_channel_add(sense, name, "Cel", 0.1);
}

static enum err temperatures_open(struct sense *sense)
{
    struct host *h = sense->state;
    h->temperature = (int)sense->channel_count;
    for (unsigned i = 0; i < TEMPERATURES_MAX; i++) {
        char path[80], label[80];
        snprintf(path, sizeof path, "/sys/class/thermal/thermal_zone%u/temp", i);
        snprintf(label, sizeof label, "/sys/class/thermal/thermal_zone%u/type", i);
        TRY(temperature_add(sense, path, label));
    }
    for (unsigned i = 0; h->temperature_count == 0 && i < TEMPERATURES_MAX; i++) {
        for (unsigned input = 1; input <= 4; input++) {
            char path[80], label[80];
            snprintf(path, sizeof path, "/sys/class/hwmon/hwmon%u/temp%u_input", i, input);
            snprintf(label, sizeof label, "/sys/class/hwmon/hwmon%u/name", i);
            TRY(temperature_add(sense, path, label));
        }
    }
    return OK;
}

/* Adds one or two channels if their source is there. */
static enum err source_add(struct sense *sense, bool there, int *ret_first, const struct sense_channel *channels,
                           size_t count)
{
    *ret_first = there ? (int)sense->channel_count : -1;
    for (size_t i = 0; there && i < count; i++) {
        TRY(sense_channel_add(sense, channels[i].name, channels[i].unit, channels[i].resolution));
    }
    return OK;
}

static enum err sources_open(struct sense *sense)
{
    static const struct sense_channel cpu = {"cpu_busy", "%", 0.1}, memory = {"memory_used", "KiBy", 4},
                                      load = {"load_1m", "1", 0.01}, processes = {"processes", "1", 1};
    static const struct sense_channel disk[] = {{"disk_read", "By/s", 1}, {"disk_write", "By/s", 1}};
    static const struct sense_channel net[] = {{"net_rx", "By/s", 1}, {"net_tx", "By/s", 1}};
    struct host *h = sense->state;
    double ignored;
    h->have_cpu = cpu_read(h, &h->last_cpu);
    TRY(source_add(sense, h->have_cpu, &h->cpu, &cpu, 1));
    TRY(source_add(sense, memory_read(h, &ignored), &h->memory, &memory, 1));
    TRY(source_add(sense, load_read(h, &ignored), &h->load, &load, 1));
    TRY(source_add(sense, processes_read(h, &ignored), &h->processes, &processes, 1));
    h->have_disk = disk_read(h, &h->last_disk);
    TRY(source_add(sense, h->have_disk, &h->disk, disk, 2));
    h->have_net = net_read(h, &h->last_net);
    TRY(source_add(sense, h->have_net, &h->net, net, 2));
    return temperatures_open(sense);
}

static enum err host_open(struct sense *sense, const struct sense_options *options, struct fault *reterr)
{
    struct host *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    sense->state = h;
    const char *root = options->path ? options->path : "";
    if (strlen(root) >= sizeof h->root) {
        return fault_set(reterr, ERR_RANGE, "driver host: the path is longer than %zu bytes", sizeof h->root - 1);
    }
    snprintf(h->root, sizeof h->root, "%s", root);
    char full[PATH_MAX];
    path_join(h, "/proc", full);
    h->proc = opendir(full);
    h->last_us = loop_now_us(sense->loop);
    TRY(sources_open(sense));
    if (sense->channel_count == 0) {
        return fault_set(reterr, ERR_NOT_FOUND, "driver host: %s has nothing that can be read", full);
    }
    return OK;
}

static double cpu_busy(struct host *h)
{
    struct cpu_ticks now;
    bool have = cpu_read(h, &now);
    double busy = NAN;
    if (have && h->have_cpu && now.total > h->last_cpu.total && now.idle >= h->last_cpu.idle) {
        double total = (double)(now.total - h->last_cpu.total);
        busy = fmax(0, 100 * (total - (double)(now.idle - h->last_cpu.idle)) / total);
    }
    if (!have || now.total > h->last_cpu.total || now.total < h->last_cpu.total) {
        h->last_cpu = have ? now : h->last_cpu; /* two samples within a tick: the next one measures both */
    }
    h->have_cpu = have;
    return busy;
}

static void rates(bool have_now, struct counters now, bool *have_last, struct counters *last, double seconds,
                  double *values)
{
    if (have_now && *have_last && seconds > 0) {
        values[0] = now.a >= last->a ? (double)(now.a - last->a) / seconds : NAN;
        values[1] = now.b >= last->b ? (double)(now.b - last->b) / seconds : NAN;
    }
    *have_last = have_now;
    *last = now;
}

static enum err host_read(struct sense *sense, const struct sense_place *place, double *values)
{
    (void)place;
    struct host *h = sense->state;
    int64_t now_us = loop_now_us(sense->loop);
    double seconds = (double)(now_us - h->last_us) / (double)SECOND_US, value;
    struct counters counters = {0};
    h->last_us = now_us;
    if (h->cpu >= 0) {
        values[h->cpu] = cpu_busy(h);
    }
    if (h->memory >= 0) {
        values[h->memory] = memory_read(h, &value) ? value : NAN;
    }
    if (h->load >= 0) {
        values[h->load] = load_read(h, &value) ? value : NAN;
    }
    if (h->processes >= 0) {
        values[h->processes] = processes_read(h, &value) ? value : NAN;
    }
    if (h->disk >= 0) {
        bool have = disk_read(h, &counters);
        rates(have, counters, &h->have_disk, &h->last_disk, seconds, values + h->disk);
    }
    if (h->net >= 0) {
        bool have = net_read(h, &counters);
        rates(have, counters, &h->have_net, &h->last_net, seconds, values + h->net);
    }
    for (unsigned i = 0; i < h->temperature_count; i++) {
        values[(unsigned)h->temperature + i] = temperature_read(h, h->temperature_path[i], &value) ? value : NAN;
    }
    return OK;
}

static void host_close(struct sense *sense)
{
    struct host *h = sense->state;
    if (h != NULL && h->proc != NULL) {
        closedir(h->proc);
    }
    free(h);
}

const struct sense_driver sense_driver_host = {
    .name = "host", .open = host_open, .read = host_read, .close = host_close};
