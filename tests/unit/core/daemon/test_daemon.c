/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a program does not start with a broker's settings that would let anybody be anybody, says what is missing,
 * and tells its supervisor when it is ready.
 */
#include "core/daemon/daemon.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/check.h"

static char host[] = "broker", file[] = "/some/file.pem", none[] = "";

static const char *problems_of(const struct daemon_broker *broker)
{
    static char text[1024];
    BUFFER(problems, sizeof(text) - 1);
    enum err err = daemon_broker_check("parent", broker, &problems);
    CHECK(err == (problems.len == 0 ? OK : ERR_RANGE));
    if (problems.len > 0) {
        memcpy(text, problems.ptr, problems.len);
    }
    text[problems.len] = '\0';
    return text;
}

static void a_broker_needs_all_its_certificates_or_the_word_insecure(void **state)
{
    (void)state;
    CHECK_STR(problems_of(&(struct daemon_broker){.host = host, .ca = file, .cert = file, .key = file}), "");
    CHECK_STR(problems_of(&(struct daemon_broker){.host = host, .insecure = true}), "");
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = host}), "parent.insecure: true");
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = host, .ca = file, .cert = none}), "missing: cert key");
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = host, .ca = file, .insecure = true}),
                   "missing: cert key");
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = host, .ca = file, .cert = file, .key = file,
                                                       .insecure = true}),
                   "remove one of them");
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = none, .insecure = true}), "parent.host");
}

static void a_link_without_its_certificate_says_which_file(void **state)
{
    struct loop *loop = NULL;
    struct daemon_link link = {NULL, NULL};
    struct fault fault = {.code = OK};
    struct daemon_broker broker = {
        .host = host, .port = 8883, .backend = BUS_NATIVE, .ca = file, .cert = file, .key = file};
    (void)state;
    CHECK_OK(loop_new(&loop));
    CHECK(daemon_link_open(loop, &broker, "gw", &link, &fault) != OK);
    CHECK_CONTAINS(fault.text, "/some/file.pem");
    CHECK(link.bus == NULL && link.tls == NULL);
    loop_free(loop);
}

static void the_supervisor_is_told_on_its_socket(void **state)
{
    char folder[] = "/tmp/weir-notify-XXXXXX", text[64];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)state;
    CHECK(mkdtemp(folder) != NULL);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/notify", folder);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(fd >= 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_INT(setenv("NOTIFY_SOCKET", at.sun_path, 1), 0);
    daemon_notify("READY=1");
    ssize_t len = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    CHECK(len > 0);
    text[len] = '\0';
    CHECK_STR(text, "READY=1");
    unlink(at.sun_path);
    daemon_notify("STOPPING=1"); /* nobody there: no harm */
    CHECK_INT(unsetenv("NOTIFY_SOCKET"), 0);
    daemon_notify("READY=1");
    close(fd);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_broker_needs_all_its_certificates_or_the_word_insecure),
        cmocka_unit_test(a_link_without_its_certificate_says_which_file),
        cmocka_unit_test(the_supervisor_is_told_on_its_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
