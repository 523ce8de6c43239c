/* SPDX-License-Identifier: Apache-2.0 */
/* check - what does not go together in a scenario, or cannot be: said before anything is loaded. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "simulators/scenario/scenario.h"

/* Beyond what one broker takes on any machine that one would test with; where its limit really is, a run shows. */
enum {
    BROKER_MESSAGES_MAX = 400000,
    BROKER_CONNECTS_MAX = 20000,
    BROKER_HANDSHAKES_MAX = 1500,
    SAMPLES_MAX = 10000000,
    RAMPLESS_DEVICES = 500,
    RECORD_VALUES_MAX = 16384,
    PREFIX_MAX = 48
};

static void check_classes(const struct scenario *s, struct buffer *problems)
{
    double sum = 0;
    for (unsigned i = 0; i < s->classes.count; i++) {
        sum += scenario_class(s, i)->share;
    }
    if (sum <= 0) {
        buffer_put_str(problems, "classes: the shares add up to 0, so that no device belongs to any class\n");
        return;
    }
    for (unsigned i = 0; i < s->classes.count; i++) {
        const struct scenario_class *class = scenario_class(s, i);
        const char *name = s->classes.names[i];
        if (class->share > 0 && scenario_class_devices(s, i) == 0) {
            buffer_printf(problems, "classes.%s.share: %g of %g is less than one of %lld devices\n", name, class->share,
                          sum, (long long)s->devices);
        }
        if (class->samples * class->channels > RECORD_VALUES_MAX) {
            buffer_printf(problems,
                          "classes.%s.samples: %lld samples of %lld channels may not fit into one record of "
                          "128 KiB; at most %d values\n",
                          name, (long long)class->samples, (long long)class->channels, RECORD_VALUES_MAX);
        }
    }
}

static void check_rates(const struct scenario *s, struct buffer *problems)
{
    struct scenario_rates rates;
    scenario_rates(s, &rates);
    double messages = rates.records + rates.alarms + rates.health + rates.bad;
    if (messages > BROKER_MESSAGES_MAX) {
        buffer_printf(problems,
                      "devices: the scenario offers %.0f messages per second (%.0f records, %.0f of bad "
                      "actors), and no single broker takes more than %d; fewer devices, a longer classes.NAME.period, "
                      "or more classes.NAME.samples in a record\n",
                      messages, rates.records, rates.bad, BROKER_MESSAGES_MAX);
    }
    if (rates.samples > SAMPLES_MAX) {
        buffer_printf(problems,
                      "devices: %.0f samples per second are more than one process can take (%d); fewer "
                      "devices or a longer classes.NAME.period\n",
                      rates.samples, SAMPLES_MAX);
    }
    double most = s->broker.insecure ? BROKER_CONNECTS_MAX : BROKER_HANDSHAKES_MAX;
    if (s->devices > RAMPLESS_DEVICES && rates.connects > most) {
        buffer_printf(problems,
                      "ramp: %lld devices need at least %.0fs: a broker takes no more than %.0f %s per "
                      "second\n",
                      (long long)s->devices, ceil((double)s->devices / most), most,
                      s->broker.insecure ? "connects" : "TLS handshakes");
    }
}

static void check_faults(const struct scenario *s, struct buffer *problems)
{
    double down = s->churn.rate * (double)s->churn.down_us / 1e6;
    if (down >= (double)s->devices) {
        buffer_printf(problems,
                      "churn.rate: %g crashes per second of %gs each would keep %.0f devices down, and there "
                      "are %lld\n",
                      s->churn.rate, (double)s->churn.down_us / 1e6, down, (long long)s->devices);
    }
    if (s->storm.every_us > 0 && s->storm.every_us < SECOND_US) {
        buffer_put_str(problems, "storm.every: less than 1s between storms leaves no time to reconnect\n");
    }
    if (s->storm.every_us > 0 && s->storm.share <= 0) {
        buffer_put_str(problems, "storm.share: 0 of the links cut is no storm; storm.every 0s switches storms off\n");
    }
    if (s->offline.share > 0 && s->offline.for_us >= s->offline.every_us) {
        buffer_printf(problems, "offline.for: spells of %gs that begin every %gs would never end\n",
                      (double)s->offline.for_us / 1e6, (double)s->offline.every_us / 1e6);
    }
    if (s->clock.share > 0 && s->clock.skew_us == 0) {
        buffer_put_str(problems, "clock.skew: 0s is not wrong; clock.share 0 leaves all clocks right\n");
    }
    if (s->bad.thieves + s->bad.twins > s->devices) {
        buffer_printf(problems, "bad.thieves: %lld thieves and %lld twins need a device each, and there are %lld\n",
                      (long long)s->bad.thieves, (long long)s->bad.twins, (long long)s->devices);
    }
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool is_this_machine(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &four) == 1) {
        return (ntohl(four.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

static void check_certificates(const struct scenario *s, struct buffer *problems)
{
    char cert[PATH_MAX], key[PATH_MAX], id[ID_MAX + 1], first[ID_MAX + 1] = "";
    unsigned missing = 0, connections = scenario_connections(s);
    for (unsigned i = 0; i < connections; i++) {
        scenario_identity(s, i, id);
        if (scenario_certificate(s, id, sizeof(cert), cert, key) != OK || access(cert, R_OK) != 0 ||
            access(key, R_OK) != 0) {
            if (missing++ == 0) {
                memcpy(first, id, sizeof(first));
            }
        }
    }
    if (missing > 0) {
        buffer_printf(problems,
                      "broker.certificates: %s.crt or %s.key cannot be read in %s, nor those of %u others; "
                      "weir-pki batch FOLDER %s 1 %lld makes the devices'\n",
                      first, first, s->broker.certificates, missing - 1, s->prefix, (long long)s->devices);
    }
}

static void check_broker(const struct scenario *s, struct buffer *problems)
{
    if (!s->allow_remote && !is_this_machine(s->broker.host)) {
        buffer_printf(problems,
                      "broker.host: %s is not this machine; to load a broker elsewhere say allow_remote, and "
                      "ask its owner\n",
                      s->broker.host);
    }
    if (s->broker.insecure) {
        return;
    }
    if (!given(s->broker.ca)) {
        buffer_put_str(problems, "broker.ca: must be named, so that the broker can be verified (or broker.insecure: "
                                 "true on a closed test bench)\n");
    }
    if (!given(s->broker.certificates)) {
        buffer_put_str(problems, "broker.certificates: must be named: a folder with a certificate for every device\n");
    } else {
        check_certificates(s, problems);
    }
}

static void check_outputs(const struct scenario *s, struct buffer *problems)
{
    if (given(s->html)) {
        char folder[PATH_MAX];
        const char *slash = strrchr(s->html, '/');
        snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - s->html) + 1 : 1, slash ? s->html : ".");
        if (access(folder, W_OK) != 0) {
            buffer_printf(problems, "html: nothing can be written into %s: %s\n", folder, strerror(errno));
        }
    }
    if (given(s->gateway_socket) && access(s->gateway_socket, R_OK | W_OK) != 0) {
        buffer_printf(problems, "gateway_socket: %s: %s\n", s->gateway_socket, strerror(errno));
    }
    if (strlen(s->prefix) > PREFIX_MAX) {
        buffer_printf(problems, "prefix: at most %d characters, so that a number fits behind\n", PREFIX_MAX);
    }
}

static void put_descriptors(const struct scenario *s, uint64_t limit, struct buffer *out)
{
    buffer_printf(out,
                  "%u connections need %llu open files, and this process may have %llu: raise the hard limit "
                  "(ulimit -Hn, LimitNOFILE= of the unit, nofile in limits.conf), or share the fleet out to several "
                  "processes with a prefix each",
                  scenario_connections(s), (unsigned long long)scenario_descriptors(s), (unsigned long long)limit);
}

enum err scenario_check(const struct scenario *s, uint64_t descriptors, struct buffer *problems)
{
    size_t before = problems->len;
    check_classes(s, problems);
    if (problems->len == before) {
        check_rates(s, problems);
    }
    check_faults(s, problems);
    check_broker(s, problems);
    check_outputs(s, problems);
    if (descriptors > 0 && scenario_descriptors(s) > descriptors) {
        buffer_put_str(problems, "devices: ");
        put_descriptors(s, descriptors, problems);
        buffer_put_str(problems, "\n");
    }
    return problems->len > before ? ERR_RANGE : OK;
}

/* Local ports that connections to one address may use, ip(7); 0 = not known. */
static uint64_t local_ports(void)
{
    unsigned long first = 0, last = 0;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    bool read = f != NULL && fscanf(f, "%lu %lu", &first, &last) == 2 && last >= first;
    if (f != NULL) {
        (void)fclose(f);
    }
    return read ? last - first + 1 : 0;
}

enum err scenario_raise_descriptors(const struct scenario *s, struct fault *reterr)
{
    struct rlimit limit;
    uint64_t needed = scenario_descriptors(s), ports = local_ports();
    if (ports > 0 && scenario_connections(s) > ports) {
        return fault_set(reterr, ERR_DENIED,
                         "%u connections to one broker need a local port each, and there are %llu: "
                         "widen sysctl net.ipv4.ip_local_port_range",
                         scenario_connections(s), (unsigned long long)ports);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
        return OK;
    }
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = hard == RLIM_INFINITY || hard >= needed ? needed : hard;
    if (limit.rlim_cur >= needed && setrlimit(RLIMIT_NOFILE, &limit) == 0) {
        return OK;
    }
    BUFFER(sentence, 600);
    put_descriptors(s, hard, &sentence);
    buffer_put_u8(&sentence, 0);
    return fault_set(reterr, ERR_DENIED, "%s", sentence.ptr ? (const char *)sentence.ptr : "too few open files");
}
