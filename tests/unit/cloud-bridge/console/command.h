/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command - `weir` as a person runs it, on a worker's thread, while the test's loop plays the daemons that it asks.
 *
 * The test makes loop and worker; what the command said is in output (stdout) and errors (stderr).
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_CONSOLE_COMMAND_H
#define TESTS_UNIT_CLOUD_BRIDGE_CONSOLE_COMMAND_H

#include <fcntl.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/control/control.h"
#include "core/loop/loop.h"
#include "tests/support/check.h"

static char output[256 * 1024], errors[64 * 1024];
static struct loop *loop;
static struct loop_worker *worker;

struct command {
    char *argv[16];
    int argc, code;
};

static void command_work(void *arg)
{
    struct command *c = arg;
    c->code = console_main(c->argc, c->argv, "1.2.3");
}

static void command_done(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void command_said(int fd, char *into, size_t size)
{
    ssize_t got = pread(fd, into, size - 1, 0);
    into[got > 0 ? got : 0] = '\0';
    close(fd);
}

/* The words end with NULL, "weir" is the first. Returns the exit code. */
static int command_run(const char *const *words)
{
    static char texts[16][300];
    struct command c = {.argc = 0};
    for (; words[c.argc] != NULL; c.argc++) {
        snprintf(texts[c.argc], sizeof(texts[0]), "%s", words[c.argc]);
        c.argv[c.argc] = texts[c.argc];
    }
    int out = open("/tmp", O_TMPFILE | O_RDWR, 0600), err = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    fflush(NULL);
    int old_out = dup(1), old_err = dup(2);
    dup2(out, 1);
    dup2(err, 2);
    enum err ran = loop_offload(worker, command_work, command_done, &c);
    ran = ran == OK ? loop_run(loop) : ran;
    fflush(NULL);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_out);
    close(old_err);
    command_said(out, output, sizeof(output));
    command_said(err, errors, sizeof(errors));
    CHECK_OK(ran);
    return c.code;
}
#define WEIR(...) command_run((const char *const[]){"weir", __VA_ARGS__, NULL})
/* In the test's folder of sockets. */
#define RUN(...) WEIR("--run", folder, __VA_ARGS__)

/* A daemon's document, written with ' for "; NULL = it does not know that. Returns the status. */
static int answer(const char *text, struct buffer *body)
{
    for (const char *c = text; c != NULL && *c != '\0'; c++) {
        buffer_put_u8(body, *c == '\'' ? '"' : (uint8_t)*c);
    }
    return text ? 200 : 404;
}

#endif
