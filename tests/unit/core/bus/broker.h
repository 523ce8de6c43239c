/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker - a real Mosquitto for tests: its own folder, a free port on 127.0.0.1, ended by its process id.
 */
#ifndef TESTS_UNIT_CORE_BUS_BROKER_H
#define TESTS_UNIT_CORE_BUS_BROKER_H

#include "tests/support/check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct broker {
    char dir[64];
    uint16_t port;
    pid_t pid; /* 0: not running */
};

static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void shell(const char *dir, const char *commands)
{
    char line[4096];
    snprintf(line, sizeof(line), "cd '%s' && ( %s ) > setup.log 2>&1", dir, commands);
    if (system(line) != 0) {
        fail_msg("failed: %s", line);
    }
}

/* A CA, a broker's certificate for 127.0.0.1 and localhost, one for another name, one of a client. */
__attribute__((unused)) static void broker_make_certificates(const struct broker *b)
{
    shell(b->dir,
          "set -e; new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';"
          "openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=test-ca -days 2;"
          "openssl req -x509 $new -keyout foreign.key -out foreign.pem -subj /CN=foreign-ca -days 2;"
          "issue() { openssl req $new -keyout $1.key -out $1.csr -subj /CN=$2;"
          " echo \"$3\" > $1.ext; openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
          " -extfile $1.ext -out $1.pem; chmod 600 $1.key; };"
          "issue broker broker subjectAltName=IP:127.0.0.1,DNS:localhost;"
          "issue other other subjectAltName=DNS:other.example;"
          "issue client client extendedKeyUsage=clientAuth");
}

static void broker_configure(struct broker *b, const char *more)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/broker.conf", b->dir);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(f,
            "user root\nper_listener_settings false\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
            "max_queued_messages 100000\nmax_inflight_messages 1000\nlistener %u 127.0.0.1\n%s\n",
            b->port, more);
    fclose(f);
}

static void broker_start(struct broker *b)
{
    char config[128], log[128];
    snprintf(config, sizeof(config), "%s/broker.conf", b->dir);
    snprintf(log, sizeof(log), "%s/broker.log", b->dir);
    pid_t parent = getpid();
    b->pid = fork();
    CHECK(b->pid >= 0);
    if (b->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* an aborted test leaves no broker behind */
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (getppid() != parent || fd < 0) {
            _exit(127);
        }
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        setenv("PATH", "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin", 1);
        execlp("mosquitto", "mosquitto", "-c", config, (char *)NULL);
        _exit(127);
    }
}

static void broker_kill(struct broker *b)
{
    if (b->pid > 0) {
        kill(b->pid, SIGKILL);
        waitpid(b->pid, NULL, 0);
        b->pid = 0;
    }
}

__attribute__((unused)) static void broker_begin(struct broker *b)
{
    *b = (struct broker){.dir = "/tmp/weir-bus-XXXXXX"};
    CHECK(mkdtemp(b->dir) != NULL);
    b->port = free_port();
    broker_configure(b, "");
    broker_start(b);
}

__attribute__((unused)) static void broker_end(struct broker *b)
{
    broker_kill(b);
    char line[128];
    snprintf(line, sizeof(line), "rm -rf '%s'", b->dir);
    CHECK(system(line) == 0);
}

#endif
