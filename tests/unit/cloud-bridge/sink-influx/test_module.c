/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the module against a server that answers what the test says: what is good is posted, what the server dislikes
 * is found and named, what went wrong otherwise is not anybody's fault, and a connection that broke means everything
 * again. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

/* A process that answers one connection after the other. Body with `poison`: 400. */
struct server {
    pid_t pid;
    int port;
};
enum behaviour { TAKES, CHUNKED_500, CLOSES, TALKS_NONSENSE, SAYS_401 };

static void answer(int fd, const char *body, enum behaviour how)
{
    const char *text = "HTTP/1.1 204 No Content\r\n\r\n";
    if (how == CHUNKED_500) {
        text = "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfull\r\n3\r\n up\r\n0\r\n\r\n";
    } else if (how == CLOSES) {
        text = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    } else if (how == TALKS_NONSENSE) {
        text = "220 smtp.example.org\r\n\r\n";
    } else if (how == SAYS_401) {
        text = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    } else if (strstr(body, "poison") != NULL) {
        text = "HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nbad li";
    }
    (void)!write(fd, text, strlen(text));
}

/* Headers and as many bytes as they say. False: the client has gone. */
static bool read_request(int fd, char *text, size_t size)
{
    size_t len = 0, need = SIZE_MAX;
    while (len < need && len + 1 < size) {
        ssize_t n = read(fd, text + len, size - 1 - len);
        if (n <= 0) {
            return false;
        }
        len += (size_t)n;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end != NULL) {
            need = (size_t)(end - text) + 4 + (length != NULL && length < end ? strtoul(length + 16, NULL, 10) : 0);
        }
    }
    return true;
}

static void serve(int listener, enum behaviour how)
{
    static char text[1 << 20];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        while (fd >= 0 && read_request(fd, text, sizeof(text))) {
            answer(fd, text, how);
            if (how == CLOSES) {
                break;
            }
        }
        close(fd);
    }
}

static struct server server_start(int port, enum behaviour how)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(at);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 8) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        serve(fd, how);
        _exit(0);
    }
    close(fd);
    return (struct server){.pid = pid, .port = ntohs(at.sin_port)};
}

static void server_stop(struct server *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

struct bench {
    struct batch batch;
    struct sink_refusals refusals;
    struct sink sink;
    struct influx_settings settings;
    char dir[64], state[96], url[96];
    struct server server;
};
static char empty[] = "", weir[] = "weir", ping[] = "/ping";

static void begin(struct bench *b, enum behaviour how, int64_t settle_us)
{
    struct fault fault = {.code = OK};
    struct sink_place place = {.name = "x"};
    memset(b, 0, sizeof(*b));
    scratch_new(b->dir);
    b->server = server_start(0, how);
    snprintf(b->state, sizeof(b->state), "%s/names", b->dir);
    snprintf(b->url, sizeof(b->url), "http://127.0.0.1:%d/write?db=weir", b->server.port);
    b->settings = (struct influx_settings){.url = b->url,
                                           .credentials = empty,
                                           .ca = empty,
                                           .measurement = weir,
                                           .state = b->state,
                                           .ping = ping,
                                           .timeout_us = 5 * SECOND_US,
                                           .settle_us = settle_us,
                                           .body_max = 2000};
    BUFFER(problems, 4096);
    CHECK_OK(weir_sink_module.check(&b->settings, &problems));
    CHECK_OK(weir_sink_module.open(&place, &b->settings, &b->sink, &fault));
    batch_begin(&b->batch);
    b->batch.batch.refusals = &b->refusals;
}

static void end(struct bench *b)
{
    b->sink.ops->close(b->sink.self);
    batch_end(&b->batch);
    server_stop(&b->server);
    scratch_free(b->dir);
}

static void blocks(struct bench *b, unsigned count)
{
    for (unsigned n = 1; n <= count; n++) {
        char device[32];
        snprintf(device, sizeof(device), n == 7 ? "poison-%u" : "pump-%u", n);
        batch_block(&b->batch, device, n, n);
    }
}

static enum err write_batch(struct bench *b, struct fault *fault)
{
    b->refusals.count = 0;
    return b->sink.ops->write(b->sink.self, &b->batch.batch, fault);
}

static void a_batch_larger_than_a_body_is_posted_in_parts(void **state)
{
    (void)state;
    struct bench b;
    struct fault fault = {.code = OK};
    begin(&b, TAKES, 0);
    blocks(&b, 6);
    for (unsigned n = 8; n < 40; n++) {
        batch_block(&b.batch, "more", n, n);
    }
    CHECK_OK(write_batch(&b, &fault));
    CHECK_INT(b.refusals.count, 0);
    end(&b);
}

static void the_record_that_the_server_dislikes_is_found_among_many(void **state)
{
    (void)state;
    struct bench b;
    struct fault fault = {.code = OK};
    begin(&b, TAKES, 0);
    blocks(&b, 20);
    CHECK_ERR(write_batch(&b, &fault), ERR_UNSUPPORTED);
    CHECK_INT(b.refusals.count, 1);
    CHECK_INT(b.refusals.items[0].index, 6);
    CHECK_CONTAINS(b.refusals.items[0].reason, "the server says 400: bad li");
    end(&b);
}

static void other_answers_blame_nobody(void **state)
{
    (void)state;
    static const struct {
        enum behaviour how;
        enum err err;
        const char *text;
    } rows[] = {{CHUNKED_500, ERR_IO, "the server says 500: full up"},
                {TALKS_NONSENSE, ERR_IO, "not an answer of HTTP/1.1"},
                {SAYS_401, ERR_DENIED, "the server says 401: no"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bench b;
        struct fault fault = {.code = OK};
        begin(&b, rows[i].how, 0);
        blocks(&b, 3);
        CHECK_ERR(write_batch(&b, &fault), rows[i].err);
        CHECK_CONTAINS(fault.text, rows[i].text);
        CHECK_INT(b.refusals.count, 0);
        end(&b);
    }
}

static void a_server_that_is_not_there_or_was_another_between_two_batches_means_everything_again(void **state)
{
    (void)state;
    struct bench b;
    struct fault fault = {.code = OK};
    begin(&b, TAKES, SECOND_US);
    CHECK_INT(b.sink.settle_us, SECOND_US);
    blocks(&b, 2);
    CHECK_OK(write_batch(&b, &fault));
    CHECK_OK(b.sink.ops->alive(b.sink.self, &fault));
    server_stop(&b.server);
    CHECK(b.sink.ops->alive(b.sink.self, &fault) != OK);
    CHECK(write_batch(&b, &fault) != OK); /* refused */
    CHECK_CONTAINS(fault.text, "Connection refused");
    b.server = server_start(b.server.port, TAKES);
    CHECK_OK(write_batch(&b, &fault));
    server_stop(&b.server);
    b.server = server_start(b.server.port, TAKES);
    CHECK(write_batch(&b, &fault) != OK); /* the connection broke: the drain begins again */
    CHECK_OK(write_batch(&b, &fault));
    end(&b);
}

static void a_server_that_closes_after_every_answer_is_told_to_need_no_settling(void **state)
{
    (void)state;
    struct bench b;
    struct fault fault = {.code = OK};
    begin(&b, CLOSES, SECOND_US);
    blocks(&b, 2);
    CHECK_OK(write_batch(&b, &fault));
    CHECK_ERR(b.sink.ops->alive(b.sink.self, &fault), ERR_AGAIN);
    CHECK_CONTAINS(fault.text, "settle must be 0s");
    end(&b);
    begin(&b, CLOSES, 0);
    blocks(&b, 2);
    CHECK_OK(write_batch(&b, &fault));
    CHECK_OK(write_batch(&b, &fault));
    end(&b);
}

static const char *problem_of(const char *url)
{
    static char text[500];
    struct url parsed;
    struct fault fault = {.text = ""};
    snprintf(text, sizeof(text), "%s", url_parse(url, &parsed, &fault) == OK ? "" : fault.text);
    return text;
}

static void urls_are_taken_apart_or_refused_with_a_reason(void **state)
{
    (void)state;
    struct url url;
    struct fault fault;
    CHECK_OK(url_parse("http://[::1]:8428/api/v2/write?org=o&bucket=b%20c", &url, &fault));
    CHECK_STR(url.host, "::1");
    CHECK_STR(url.port, "8428");
    CHECK_STR(url.target, "/api/v2/write?org=o&bucket=b%20c");
    CHECK_OK(url_parse("https://influx.example.org", &url, &fault));
    CHECK(url.tls);
    CHECK_STR(url.port, "443");
    CHECK_STR(url.target, "/");
    CHECK_CONTAINS(problem_of("ftp://x"), "http://");
    CHECK_CONTAINS(problem_of("http://user:secret@x/"), "user or password");
    CHECK_CONTAINS(problem_of("http:///write"), "host");
    CHECK_CONTAINS(problem_of("http://x:99999999/"), "port");
    CHECK_CONTAINS(problem_of("http://x:/"), "port");
    CHECK_CONTAINS(problem_of("http://x/a b"), "must be written with %");
    CHECK_CONTAINS(problem_of("http://x/\r\nX: y"), "must be written with %");
    CHECK_CONTAINS(problem_of("http://x/#y"), "#");
}

static void credentials_for_another_machine_need_tls(void **state)
{
    (void)state;
    char url[] = "http://influx.example.org/write", file[] = "/dev/null", bad_ping[] = "ping";
    struct influx_settings s = {
        .url = url, .credentials = file, .ca = empty, .measurement = weir, .state = empty, .ping = bad_ping};
    BUFFER(problems, 4096);
    CHECK_ERR(weir_sink_module.check(&s, &problems), ERR_RANGE);
    buffer_put_u8(&problems, '\0');
    CHECK_CONTAINS((const char *)problems.ptr, "url: credentials for another machine need https://\n");
    CHECK_CONTAINS((const char *)problems.ptr, "ping: a path that begins with /\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_larger_than_a_body_is_posted_in_parts),
        cmocka_unit_test(the_record_that_the_server_dislikes_is_found_among_many),
        cmocka_unit_test(other_answers_blame_nobody),
        cmocka_unit_test(a_server_that_is_not_there_or_was_another_between_two_batches_means_everything_again),
        cmocka_unit_test(a_server_that_closes_after_every_answer_is_told_to_need_no_settling),
        cmocka_unit_test(urls_are_taken_apart_or_refused_with_a_reason),
        cmocka_unit_test(credentials_for_another_machine_need_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
