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
    enum err err = daemon_broker_check("parent", broker, "gw1", &problems);
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
    CHECK_CONTAINS(problems_of(&(struct daemon_broker){.host = host, .ca = file, .cert = file, .key = file}),
                   "/some/file.pem"); /* certificates are looked into */
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

static const char *const tables[] = {"spool", "meta"};

struct waiting {
    struct loop *loop;
    struct store *store;
    struct loop_timer timer;
};

static void look(void *arg)
{
    struct waiting *w = arg;
    if (store_commits_pending(w->store) == 0) {
        loop_stop(w->loop);
    } else {
        loop_timer_in(&w->timer, MS_US);
    }
}

static enum err open_as(struct loop *loop, char *path, const char *owner, struct fault *reterr)
{
    struct daemon_store settings = {.path = path, .size = 1 << 20};
    struct store *store = NULL;
    struct crypt_aead *aead = NULL;
    TRY(daemon_store_open(loop, &settings, tables, 2, 1, owner, &store, &aead, NULL, reterr));
    struct waiting w = {.loop = loop, .store = store}; /* for the owner's note to be durable */
    loop_timer_init(&w.timer, loop, look, &w);
    loop_timer_in(&w.timer, 0);
    enum err err = loop_run(loop);
    store_close(store);
    return err;
}

static void a_store_is_refused_to_another_owner(void **state)
{
    (void)state;
    char path[] = "/tmp/weir-owner-XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    struct loop *loop = NULL;
    struct fault fault = {.code = OK};
    CHECK_OK(loop_new(&loop));
    CHECK_OK(open_as(loop, path, "device dev-a", &fault));
    CHECK_OK(open_as(loop, path, "device dev-a", &fault));
    CHECK_ERR(open_as(loop, path, "device dev-b", &fault), ERR_CONFLICT);
    CHECK_CONTAINS(fault.text, "device dev-a");
    CHECK_ERR(open_as(loop, path, "gateway dev-a", &fault), ERR_CONFLICT);
    loop_free(loop);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    CHECK_INT(system(command), 0);
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
        cmocka_unit_test(a_store_is_refused_to_another_owner),
        cmocka_unit_test(the_supervisor_is_told_on_its_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
