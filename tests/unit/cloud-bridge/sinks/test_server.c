/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what sinks of other people's servers share: settings of TLS and login that do not fit are each named, a secret
 * is the first line of its file, and of a batch exactly those records are refused that the server dislikes.
 */
#include <errno.h>

#include "cloud-bridge/sinks/server.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static void tls_and_login_are_held_against_one_another(void **state)
{
    (void)state;
    static const struct {
        struct sink_login login;
        const char *problems;
    } rows[] = {
        {{"ca", "", "", "", "", false}, ""},
        {{"ca", "cert", "key", "user", "file", false}, ""},
        {{"", "", "", "", "", true}, ""},
        {{"", "", "", "", "", false}, "ca: needed for TLS, or insecure: true on a closed test bench\n"},
        {{"ca", "", "", "", "", true}, "insecure: certificates are given as well; remove one of them\n"},
        {{"ca", "", "key", "", "", false}, "cert: certificate and key belong together\n"},
        {{"ca", "", "", "user", "", false}, "user: user and password_file belong together\n"},
        {{"", "cert", "", "", "file", true},
         "insecure: certificates are given as well; remove one of them\n"
         "cert: certificate and key belong together\n"
         "user: user and password_file belong together\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        BUFFER(problems, 4096);
        CHECK_ERR(sink_login_check(&rows[i].login, &problems), rows[i].problems[0] ? ERR_RANGE : OK);
        buffer_put_u8(&problems, '\0');
        CHECK_STR((const char *)problems.ptr, rows[i].problems);
    }
}

static enum err secret_of(const char *content, char *ret_text, size_t size)
{
    char dir[64], path[96];
    scratch_new(dir);
    snprintf(path, sizeof(path), "%s/secret", dir);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs(content, f) >= 0 && fclose(f) == 0);
    enum err err = sink_secret_read(path, ret_text, size);
    scratch_free(dir);
    return err;
}

static void a_secret_is_the_first_line_of_its_file(void **state)
{
    (void)state;
    char text[8];
    CHECK_OK(secret_of("open", text, sizeof(text)));
    CHECK_STR(text, "open");
    CHECK_OK(secret_of("same\r\nmore\n", text, sizeof(text)));
    CHECK_STR(text, "same");
    CHECK_OK(secret_of("longer than there is room", text, sizeof(text)));
    CHECK_STR(text, "longer ");
    CHECK_OK(secret_of("\n", text, sizeof(text)));
    CHECK_STR(text, "");
    CHECK_ERR(secret_of("", text, sizeof(text)), ERR_NOT_FOUND);
    CHECK_STR(text, "");
    CHECK_ERR(sink_secret_read("/nonexistent/secret", text, sizeof(text)), ERR_IO);
    CHECK_INT(errno, ENOENT);
}

/* ---- a server that dislikes some ---- */
struct server {
    uint64_t dislikes; /* a bit an item */
    unsigned tries, breaks_after;
};

static enum err try_items(void *arg, const struct sink_batch *batch, size_t first, size_t count, bool *ret_disliked,
                          struct fault *reterr)
{
    struct server *s = arg;
    CHECK(first + count <= batch->count);
    if (++s->tries == s->breaks_after) {
        return fault_set(reterr, ERR_TIMEOUT, "silence");
    }
    for (size_t i = first; i < first + count; i++) {
        if ((s->dislikes >> i & 1) != 0) {
            *ret_disliked = true;
            return fault_set(reterr, ERR_IO, "item %zu is bad", i);
        }
    }
    return OK;
}

static enum err find(struct server *s, size_t count, struct sink_refusals *refusals, size_t *ret_blamed)
{
    struct sink_item items[40] = {{.lane = 0}};
    const struct sink_batch batch = {.items = items, .count = count, .refusals = refusals};
    const struct sink_offer offer = {.try_items = try_items, .arg = s};
    refusals->count = 0;
    return sink_find_guilty(&offer, &batch, ret_blamed);
}

static void those_that_are_disliked_are_refused_and_no_others(void **state)
{
    (void)state;
    static struct sink_refusals refusals;
    size_t blamed = 0;
    struct server s = {.dislikes = 1U << 6 | 1U << 7 | UINT64_C(1) << 36};
    CHECK_OK(find(&s, 37, &refusals, &blamed));
    CHECK_INT(blamed, 3);
    CHECK_INT(refusals.count, 3);
    CHECK_INT(refusals.items[0].index, 6);
    CHECK_INT(refusals.items[1].index, 7);
    CHECK_INT(refusals.items[2].index, 36);
    CHECK_STR(refusals.items[2].reason, "item 36 is bad");
    CHECK_OK(find(&(struct server){.dislikes = 0}, 37, &refusals, &blamed));
    CHECK_INT(blamed, 0);
    CHECK_OK(find(&(struct server){.dislikes = 1}, 0, &refusals, &blamed));
    CHECK_INT(blamed, 0);
}

static void a_search_names_so_many_at_the_most_and_ends_with_the_server(void **state)
{
    (void)state;
    static struct sink_refusals refusals;
    size_t blamed = 0;
    struct server all = {.dislikes = UINT64_MAX};
    CHECK_OK(find(&all, 40, &refusals, &blamed));
    CHECK_INT(blamed, SINK_BLAMED_MAX);
    CHECK_INT(refusals.count, SINK_BLAMED_MAX);
    struct server breaks = {.dislikes = 1U << 30, .breaks_after = 2};
    CHECK_ERR(find(&breaks, 40, &refusals, &blamed), ERR_TIMEOUT);
    CHECK_INT(blamed, 0);
    CHECK_INT(breaks.tries, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_and_login_are_held_against_one_another),
        cmocka_unit_test(a_secret_is_the_first_line_of_its_file),
        cmocka_unit_test(those_that_are_disliked_are_refused_and_no_others),
        cmocka_unit_test(a_search_names_so_many_at_the_most_and_ends_with_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
