/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: every kind of record is the lines that it should be, exactly escaped, with its own time. */
#include "cloud-bridge/sink-influx/sink_influx_internal.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

struct bench {
    struct batch batch;
    struct sink_reader reader;
    struct lines lines;
    char dir[64], path[96];
};

static void begin(struct bench *b)
{
    struct fault fault;
    memset(b, 0, sizeof(*b));
    scratch_new(b->dir);
    snprintf(b->path, sizeof(b->path), "%s/names", b->dir);
    CHECK_OK(names_open(b->path, &b->lines.names, &fault));
    CHECK_OK(sink_reader_init(&b->reader));
    b->lines.measurement = "weir";
    b->lines.reader = &b->reader;
    buffer_init(&b->lines.out, 1 << 20);
    batch_begin(&b->batch);
}

static void end(struct bench *b)
{
    batch_end(&b->batch);
    buffer_deinit(&b->lines.out);
    names_free(b->lines.names);
    sink_reader_deinit(&b->reader);
    scratch_free(b->dir);
}

/* The lines of the batch's last item. */
static const char *lines_of(struct bench *b)
{
    const char *why;
    buffer_reset(&b->lines.out);
    CHECK_OK(lines_put(&b->lines, &b->batch.items[b->batch.batch.count - 1].forward, &why));
    buffer_put_u8(&b->lines.out, '\0');
    CHECK_OK(buffer_err(&b->lines.out));
    return (const char *)b->lines.out.ptr;
}

static void readings_have_the_channel_s_name_and_unit_once_they_are_described(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    batch_block(&b.batch, "pump-1", 3, 1);
    CHECK_STR(lines_of(&b), "weir,channel=c0,device=pump-1 value=0.3 1767225603000000000\n"
                            "weir,channel=c1,device=pump-1 value=5 1767225603000000000\n"
                            "weir,channel=c0,device=pump-1 value=0.4 1767225603250000000\n");
    batch_describe(&b.batch, "pump-1", 4, 2);
    CHECK_STR(lines_of(&b), "");
    batch_block(&b.batch, "pump-1", 5, 3);
    CHECK_STR(lines_of(&b), "weir,channel=pressure,device=pump-1,unit=bar value=0.5 1767225605000000000\n"
                            "weir,channel=flow\\ \"raw\",device=pump-1 value=5 1767225605000000000\n"
                            "weir,channel=pressure,device=pump-1,unit=bar value=0.6 1767225605250000000\n");
    end(&b);
}

static void windows_and_what_is_left_of_their_block_are_points_of_their_own(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    batch_curated(&b.batch, "p", 1, 1);
    const char *text = lines_of(&b);
    CHECK_CONTAINS(text,
                   "weir_window,channel=c0,device=p,rule=minute count=4i,mean=3,std=2,min=1,max=5,p50=");
    CHECK_CONTAINS(text, ",length_us=60000000i,partial=false,late=0i 1767225600000000000\n");
    CHECK_CONTAINS(text, "weir_window,channel=c1,device=p,rule=minute count=4i,mean=3,std=2,min=1,max=5,length_us=");
    CHECK_CONTAINS(text, "partial=true,late=2i 1767225600000000000\n");
    CHECK_CONTAINS(text, "weir,channel=c0,device=p value=0.1 1767225601000000000\n");
    batch_curated_named(&b.batch, "p", 2, 2); /* rules have changed what it is called */
    text = lines_of(&b);
    CHECK_CONTAINS(text, "weir_window,channel=pressure,device=p,rule=minute,unit=bar count=4i");
    CHECK_CONTAINS(text, "weir,channel=pressure,device=p,unit=bar value=0.2 1767225602000000000\n");
    end(&b);
}

static void events_health_gaps_and_ranges_are_points_with_their_identity(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    batch_event(&b.batch, "p", 12, 1);
    CHECK_STR(lines_of(&b), "weir_event,device=p,id=limit-exceeded,severity=alarm text=\"over \\\"8 bar\\\"\\\\n\","
                            "channel=\"pressure\",value=8.5,number=12i 1767225600000000012\n");
    batch_health(&b.batch, "p", 13, 2);
    CHECK_CONTAINS(lines_of(&b), "weir_health,device=p uptime_s=60i,rss_bytes=4096i,");
    batch_gap(&b.batch, "p", 14, 1016, 3);
    CHECK_STR(lines_of(&b),
              "weir_gap,device=p,epoch=0000000000000abd,lane=1,reason=overflow first=14i,last=1016i,records=1003i"
              " 1767225600000000014\n");
    batch_inference(&b.batch, "p", true, 1017, 4);
    CHECK_CONTAINS(lines_of(&b), "weir_inference,answered_by=gateway,asked=answered,device=p,label=inner-race,"
                                 "model=0000000000000b0b answer=2i,confidence=0.75,score=1.5,repeats=0i,skipped=7i,"
                                 "own_answer=1i,own_confidence=0.5,took_ms=31i,number=1017i 1767225600000000000\n");
    batch_suppressed(&b.batch, "p", 1017, 1020, 5);
    CHECK_CONTAINS(lines_of(&b),
                   "weir_suppressed,device=p,epoch=0000000000000abd,lane=1,rule=deadband first=1017i,last=1020i,");
    end(&b);
}

static void what_cannot_be_read_has_no_lines_and_says_so(void **state)
{
    (void)state;
    struct bench b;
    const char *why = NULL;
    begin(&b);
    batch_raw(&b.batch, "p", 1, slice_str("\xff\xff"), 1);
    CHECK_ERR(lines_put(&b.lines, &b.batch.items[0].forward, &why), ERR_UNSUPPORTED);
    CHECK_CONTAINS(why, "cannot read");
    end(&b);
}

static const char *tag_of(const char *value)
{
    static char text[256];
    BUFFER(out, 200);
    lines_put_tag(&out, value);
    snprintf(text, sizeof(text), "%.*s", (int)out.len, out.ptr ? (const char *)out.ptr : "");
    return text;
}

static const char *string_of(const char *value)
{
    static char text[256];
    BUFFER(out, 200);
    lines_put_string(&out, value);
    snprintf(text, sizeof(text), "%.*s", (int)out.len, (const char *)out.ptr);
    return text;
}

static void texts_are_escaped_exactly(void **state)
{
    (void)state;
    CHECK_STR(tag_of("a b,c=d"), "a\\ b\\,c\\=d");
    CHECK_STR(tag_of("quote\" stays"), "quote\"\\ stays");
    CHECK_STR(tag_of("line\nend\\"), "line_end_");
    CHECK_STR(tag_of("m\xc2\xb3/h"), "m\xc2\xb3/h");
    CHECK_STR(string_of("a \"b\" \\ c,d=e"), "\"a \\\"b\\\" \\\\ c,d=e\"");
    CHECK_STR(string_of("two\nlines"), "\"two\\\\nlines\"");
    CHECK_STR(string_of(""), "\"\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readings_have_the_channel_s_name_and_unit_once_they_are_described),
        cmocka_unit_test(windows_and_what_is_left_of_their_block_are_points_of_their_own),
        cmocka_unit_test(events_health_gaps_and_ranges_are_points_with_their_identity),
        cmocka_unit_test(what_cannot_be_read_has_no_lines_and_says_so),
        cmocka_unit_test(texts_are_escaped_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
