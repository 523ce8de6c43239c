/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the channels' names are there again after a start, whatever a crash left of the file. */
#include "cloud-bridge/sink-influx/sink_influx_internal.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static void learn(struct names *names, const char *device, uint32_t set, const char *first, const char *second)
{
    Weir__V1__ChannelInfo a = WEIR__V1__CHANNEL_INFO__INIT, b = WEIR__V1__CHANNEL_INFO__INIT;
    Weir__V1__ChannelInfo *channels[] = {&a, &b};
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    char texts[2][64], unit[] = "a\tb\\c";
    snprintf(texts[0], sizeof(texts[0]), "%s", first);
    snprintf(texts[1], sizeof(texts[1]), "%s", second);
    a.name = texts[0];
    a.unit = unit;
    b.name = texts[1];
    b.unit = &unit[5]; /* "" */
    d.set = set;
    d.n_channel = 2;
    d.channel = channels;
    CHECK_OK(names_learn(names, device, &d));
}

static const char *name_of(const struct names *names, const char *device, uint32_t set, unsigned channel)
{
    const char *name = "none", *unit;
    (void)names_find(names, device, set, channel, &name, &unit);
    return name;
}

static struct names *open_names(const char *path)
{
    struct names *names = NULL;
    struct fault fault;
    CHECK_OK(names_open(path, &names, &fault));
    return names;
}

static void names_are_found_and_come_back(void **state)
{
    (void)state;
    char dir[64], path[96];
    const char *name, *unit;
    scratch_new(dir);
    snprintf(path, sizeof(path), "%s/names", dir);
    struct names *names = open_names(path);
    learn(names, "p1", 7, "pressure", "");
    learn(names, "p1", 8, "new\nline", "flow");
    learn(names, "p1", 7, "pressure", "");
    CHECK_OK(names_sync(names));
    for (unsigned i = 0; i < 2; i++) {
        CHECK_STR(name_of(names, "p1", 7, 0), "pressure");
        CHECK_STR(name_of(names, "p1", 8, 0), "new\nline");
        CHECK(names_find(names, "p1", 8, 1, &name, &unit));
        CHECK_STR(name, "flow");
        CHECK_STR(unit, "");
        CHECK(names_find(names, "p1", 7, 0, &name, &unit));
        CHECK_STR(unit, "a\tb\\c");
        CHECK_STR(name_of(names, "p1", 7, 2), "none");
        CHECK_STR(name_of(names, "p2", 7, 0), "none");
        names_free(names);
        names = open_names(path);
    }
    names_free(names);
    scratch_free(dir);
}

static void a_torn_or_damaged_file_keeps_what_is_whole(void **state)
{
    (void)state;
    char dir[64], path[96];
    scratch_new(dir);
    snprintf(path, sizeof(path), "%s/names", dir);
    struct names *names = open_names(path);
    learn(names, "p1", 1, "a", "b");
    learn(names, "p1", 2, "c", "d");
    CHECK_OK(names_sync(names));
    names_free(names);
    struct stat st;
    CHECK(stat(path, &st) == 0);
    CHECK(truncate(path, st.st_size - 2) == 0); /* the power went */
    names = open_names(path);
    CHECK_STR(name_of(names, "p1", 1, 1), "b");
    CHECK_STR(name_of(names, "p1", 2, 0), "none");
    learn(names, "p1", 3, "e", "f");
    CHECK_OK(names_sync(names));
    names_free(names);
    FILE *f = fopen(path, "r+");
    CHECK(f != NULL && fseek(f, 24, SEEK_SET) == 0 && fputc('!', f) != EOF && fclose(f) == 0);
    names = open_names(path);
    CHECK_STR(name_of(names, "p1", 1, 1), "none");
    CHECK_STR(name_of(names, "p1", 3, 1), "f");
    names_free(names);
    scratch_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_and_come_back),
        cmocka_unit_test(a_torn_or_damaged_file_keeps_what_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
