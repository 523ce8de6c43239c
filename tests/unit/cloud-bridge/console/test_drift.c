/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: `weir drift calibrate` writes limits that a gateway can read and says what false alarms they mean; `weir drift
 * show` says in words what gateways say; `weir model inspect` knows what a model costs, and a hostile file ends with a
 * sentence and exit code 2.
 */
#include <math.h>
#include <sys/stat.h>

#include "proto/calibration/calibration.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/cloud-bridge/console/command.h"

static char folder[] = "/tmp/weir-drift-XXXXXX";
static struct control_server *server;
static const char *health; /* what the gateway says; NULL: it watches nothing */

/* ---- the gateway ---- */
static int on_status(void *arg, const struct control_request *request, struct buffer *body)
{
    (void)arg;
    (void)request;
    buffer_put_str(body, "{\"program\":\"gateway\",\"id\":\"gw1\"}");
    return 200;
}

static int on_health(void *arg, const struct control_request *request, struct buffer *body)
{
    const char *device = control_param(request, "device");
    (void)arg;
    if (health == NULL) {
        buffer_put_str(body, "{\"error\":\"this gateway has no health.calibrations\"}");
        return 404;
    }
    return answer(device == NULL || strcmp(device, "pump-1") == 0 ? health : "{'health':{'devices':[]}}", body);
}

/* ---- files ---- */
static const char *path(const char *name)
{
    static char paths[4][128];
    static unsigned at;
    at = (at + 1) % 4;
    snprintf(paths[at], sizeof(paths[0]), "%s/%s", folder, name);
    return paths[at];
}

static double noise(unsigned i)
{
    return (double)(mix_u64(i) >> 11) / 9007199254740992.0 - 0.5;
}

static void write_run(const char *name, unsigned rows)
{
    FILE *f = fopen(path(name), "w");
    CHECK(f != NULL);
    fprintf(f, "moist,temp,other\n");
    for (unsigned i = 0; i < rows; i++) {
        double a = noise(i);
        fprintf(f, "%.4f,%.4f,%u\n", 1 + a + 0.1 * noise(i + 1000000), 1 + 2 * a + 0.1 * noise(i + 2000000), i);
    }
    CHECK_INT(fclose(f), 0);
}

static int start(void **state)
{
    static const struct control_route routes[] = {{"/status", on_status}, {"/health", on_health}, {NULL, NULL}};
    char data[128];
    (void)state;
    CHECK(mkdtemp(folder) != NULL);
    CHECK(tiny_model_write(folder, "tiny",
                           "model: tiny\nchannels: [temp, moist]\nrate: 10\nwindow: 4\nunsure_below: 0.8\n", "temp",
                           "moist"));
    snprintf(data, sizeof(data), "%s/normal", folder);
    CHECK_INT(mkdir(data, 0700), 0);
    write_run("normal/a.csv", 3000);
    write_run("normal/b.csv", 1000);
    CHECK_OK(loop_new(&loop));
    CHECK_OK(loop_worker_new(loop, "command", &worker));
    CHECK_OK(control_server_new(loop, path("gw1.sock"), routes, NULL, &server, NULL));
    return 0;
}

static int end(void **state)
{
    char command[200];
    (void)state;
    control_server_free(server);
    loop_worker_free(worker);
    loop_free(loop);
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    return system(command);
}

/* ---- calibrate ---- */
static void a_normal_run_becomes_limits(void **state)
{
    BUFFER(problems, 4096);
    CLEANUP(calibration_freep) struct calibration *c = NULL;
    (void)state;
    CHECK_INT(
        RUN("drift", "calibrate", "--data", path("normal"), "--model", path("tiny.yaml"), "--out", path("drift.yaml")),
        EXIT_OK);
    CHECK_CONTAINS(errors, "warning: the run is short");
    CHECK_CONTAINS(output, "tiny: 4000 rows in 2 files, 6.67 minutes at 10 samples a second");
    CHECK_CONTAINS(output, "1000 answers");
    CHECK_CONTAINS(output, "(confirmed ones of inputs and of the confidence, not of sketches or sensors)");
    CHECK(strstr(output, "e+") == NULL);
    CHECK_OK(calibration_load(path("drift.yaml"), &c, &problems));
    CHECK_STR(c->name, "tiny");
    CHECK_INT(c->channels, 2);
    CHECK_STR(c->channel[0], "temp");
    CHECK(c->pca.components >= 1 && c->of == CALIBRATION_CONFIDENCE);
    CHECK(c->score_mean > 0.8 && c->score_mean < 1); /* logits 4, about 1, about 1 */
    CHECK(fabs(c->pca.mean[0] - 1) < 0.1);           /* temp stands second in the files */
}

/* `name`.csv: rows `apart_ms` apart; every `broken`th stands 3 s later than that. */
static void write_timed(const char *name, unsigned apart_ms, unsigned broken)
{
    FILE *f = fopen(path(name), "w");
    CHECK(f != NULL);
    fprintf(f, "time,moist,temp\n");
    for (uint64_t i = 0, at_ms = UINT64_C(1767225600000); i < 3000; i++) {
        at_ms += apart_ms + (broken > 0 && i > 0 && i % broken == 0 ? 3000 : 0);
        fprintf(f, "%llu,%.4f,%.4f\n", (unsigned long long)at_ms, 1 + noise((unsigned)i),
                1 + 2 * noise((unsigned)i + 1000000));
    }
    CHECK_INT(fclose(f), 0);
}

static void rows_stand_the_model_s_rate_apart(void **state)
{
    (void)state;
    write_timed("slow.csv", 1000, 0);
    CHECK_INT(RUN("drift", "calibrate", "--data", path("slow.csv"), "--model", path("tiny.yaml"), "--out",
                  path("timed.yaml")),
              EXIT_USAGE);
    CHECK_CONTAINS(errors, "slow.csv: rows are 1000 ms apart, the model takes one every 100 ms (rate)");
    write_timed("timed.csv", 100, 0);
    CHECK_INT(RUN("drift", "calibrate", "--data", path("timed.csv"), "--model", path("tiny.yaml"), "--out",
                  path("timed.yaml")),
              EXIT_OK);
    CHECK_CONTAINS(output, "; 750 answers");
    CHECK_CONTAINS(output, "inputs: 4 components of 4; limits T2 ");
    CHECK_CONTAINS(output, ", SPE none: all components are kept\n");
    CHECK(strstr(output, " gap") == NULL);
}

static void windows_begin_anew_behind_a_gap(void **state)
{
    (void)state;
    write_timed("gaps.csv", 100, 10); /* a window of 4 rows: two in each ten */
    CHECK_INT(RUN("drift", "calibrate", "--data", path("gaps.csv"), "--model", path("tiny.yaml"), "--out",
                  path("timed.yaml")),
              EXIT_OK);
    CHECK_CONTAINS(output, "; 600 answers");
    CHECK_CONTAINS(output, "299 gaps in the times: windows begin anew behind each (the longest stretch without one: 10 rows, the window is 4)");
    write_timed("cut.csv", 100, 3);
    CHECK_INT(RUN("drift", "calibrate", "--data", path("cut.csv"), "--model", path("tiny.yaml"), "--out",
                  path("timed.yaml")),
              EXIT_OK);
    CHECK_STR(errors, "");
    CHECK_CONTAINS(output, "expected false alarms of a device: not known without figures for inputs or scores");
}

static void what_was_calibrated_is_also_json(void **state)
{
    (void)state;
    CHECK_INT(RUN("--json", "drift", "calibrate", "--data", path("normal"), "--model", path("tiny.yaml"), "--out",
                  path("drift.yaml")),
              EXIT_OK);
    CHECK_CONTAINS(output, "{\"name\":\"tiny\",\"model\":\"");
    CHECK_CONTAINS(output, "\"files\":2,\"rows\":4000,\"gaps\":0,\"answers\":1000,");
    CHECK_CONTAINS(output, "\"false_alarms_per_week\":6048,");
    CHECK_CONTAINS(output, "drift.yaml\"}\n");
    CHECK(strchr(output, '\n') == output + strlen(output) - 1);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    CHECK_INT(RUN("drift", "calibrate", "--data", path("normal")), EXIT_USAGE);
    CHECK_CONTAINS(errors, "usage: weir drift calibrate");
    CHECK_INT(RUN("drift", "calibrate", "--data", path("nowhere"), "--model", path("tiny.yaml")), EXIT_NOT_FOUND);
    CHECK_INT(RUN("drift", "calibrate", "--data", path("normal"), "--model", path("tiny.tflite")), EXIT_USAGE);
    CHECK_CONTAINS(errors, "a model's description (model.yaml) is needed");
    CHECK(tiny_model_write(folder, "odd", "model: odd\nchannels: [temp, vibration]\nrate: 10\nwindow: 4\n", "temp",
                           "vibration"));
    CHECK_INT(RUN("drift", "calibrate", "--data", path("normal"), "--model", path("odd.yaml")), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, ":1: there is no column vibration with numbers; there are moist, temp, other");
    CHECK_INT(RUN("drift", "calibrate", "--data", path("normal"), "--model", path("tiny.yaml"), "--margin", "0.5"),
              EXIT_USAGE);
    CHECK_CONTAINS(errors, "the margin must be above 1");
    CHECK_INT(RUN("drift", "dance"), EXIT_USAGE);
}

/* ---- show ---- */
static void what_gateways_say_is_a_table(void **state)
{
    (void)state;
    health = "{'program':'gateway','feed':{},'health':{'devices':["
             "{'device':'pump-1','model':'0000000000000007','name':'tiny','calibrated':true,'state':'sensor-fault',"
             "'inputs':{'beyond':true,'statistic':'spe','value':12.1,'limit':4,'age_s':3},'scores':{'beyond':false,'"
             "age_s':70},"
             "'disagreement':{'beyond':false,'age_s':null},'sensors':[{'channel':'temp','fault':'stuck'}]}],"
             "'models':[{'name':'tiny','without_figures':['disagreement: the gateway has not answered lately']}],"
             "'stats':{'without_calibration':3,'left_out_devices':2}}}";
    CHECK_INT(RUN("drift", "show"), EXIT_DEGRADED);
    CHECK_CONTAINS(output, "pump-1");
    CHECK_CONTAINS(output, "spe 12.1 > 4");
    CHECK_CONTAINS(output, "ok, 70s ago");
    CHECK_CONTAINS(output, "temp stuck");
    CHECK_CONTAINS(output, "model tiny: disagreement: the gateway has not answered lately");
    CHECK_CONTAINS(output, "3 devices run no model that there is a calibration of");
    CHECK_CONTAINS(output, "about 2 devices do not fit");
    CHECK_INT(RUN("drift", "show", "pump-9"), EXIT_NOT_FOUND);
    CHECK_INT(RUN("--json", "drift", "show", "pump-1"), EXIT_DEGRADED);
    CHECK_CONTAINS(output, "\"statistic\":\"spe\"");
    health = "{'health':{'devices':[{'device':'pump-1','state':'ok'},{'device':7},'x']}}"; /* whatever a daemon says */
    CHECK_INT(RUN("drift", "show"), EXIT_DEGRADED);
    health = NULL;
    CHECK_INT(RUN("drift", "show"), EXIT_NOT_FOUND);
    CHECK_CONTAINS(errors, "no health.calibrations");
}

/* ---- inspect ---- */
static void a_model_is_taken_apart(void **state)
{
    (void)state;
    CHECK_INT(RUN("model", "inspect", path("tiny.yaml")), EXIT_OK);
    CHECK_CONTAINS(output, "model tiny, id ");
    CHECK_CONTAINS(output, "window: 4 samples at 10 a second");
    CHECK_CONTAINS(output, "features: mean of temp, mean of moist");
    CHECK_CONTAINS(output, "unsure below a confidence of 0.8, temperature 1\n");
    CHECK(tiny_model_write(folder, "sure", "model: sure\nchannels: [temp, moist]\nrate: 10\nwindow: 4\nunsure_below: 0\n",
                           "temp", "moist"));
    CHECK_INT(RUN("model", "inspect", path("sure.yaml")), EXIT_OK);
    CHECK_CONTAINS(output, "\nnever unsure, temperature 1\n");
    CHECK_INT(RUN("model", "inspect", path("tiny.yaml")), EXIT_OK);
    CHECK_CONTAINS(output, "input 0: int8 [1,2], 2 values, value = 0.1");
    CHECK_CONTAINS(output, "FULLY_CONNECTED");
    CHECK_CONTAINS(output, "multiply-accumulates an answer: 6");
    CHECK_INT(RUN("--json", "model", "inspect", path("tiny.tflite")), EXIT_OK);
    cJSON *json = cJSON_Parse(output);
    CHECK(json != NULL);
    CHECK_INT(doc_u64_or_0(json, "macs"), 6);
    CHECK(doc_u64_or_0(json, "ram_bytes") > doc_u64_or_0(json, "arena_bytes"));
    CHECK_STR(doc_text(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "operators"), 0), "kind"), "FULLY_CONNECTED");
    cJSON_Delete(json);
    CHECK_INT(RUN("model", "inspect", path("none.tflite")), EXIT_NOT_FOUND);
    CHECK_INT(RUN("model", "inspect", path("normal")), EXIT_USAGE);
    CHECK_CONTAINS(errors, "normal: is a folder");
    CHECK_INT(RUN("model", "eat", path("tiny.tflite")), EXIT_USAGE);
}

/* Every byte of the file spoilt in turn, and every length: told, or refused with a sentence; never anything else. */
static void a_hostile_file_is_refused_with_a_sentence(void **state)
{
    static uint8_t file[8192], spoilt[8192];
    FILE *f = fopen(path("tiny.tflite"), "rb");
    size_t len = f != NULL ? fread(file, 1, sizeof(file), f) : 0;
    unsigned refused = 0;
    (void)state;
    CHECK(len > 100 && len < sizeof(file));
    CHECK_INT(fclose(f), 0);
    for (size_t i = 0; i < len; i += 5) {
        memcpy(spoilt, file, len);
        spoilt[i] ^= 0xff;
        f = fopen(path("spoilt.tflite"), "wb");
        CHECK(f != NULL && fwrite(spoilt, 1, i % 2 == 0 ? len : i + 1, f) > 0);
        CHECK_INT(fclose(f), 0);
        int code = RUN("model", "inspect", path("spoilt.tflite"));
        CHECK(code == EXIT_OK || code == EXIT_USAGE);
        CHECK((code == EXIT_USAGE) == (errors[0] != '\0'));
        refused += code == EXIT_USAGE;
    }
    CHECK(refused > 20);
    f = fopen(path("spoilt.tflite"), "wb");
    CHECK(f != NULL && fwrite(file, 1, len / 2, f) > 0);
    CHECK_INT(fclose(f), 0);
    CHECK_INT(RUN("model", "inspect", path("spoilt.tflite")), EXIT_USAGE);
    CHECK_CONTAINS(errors, "schema version 3, or cut short");
    f = fopen(path("text.yaml"), "w");
    CHECK(f != NULL && fputs("model: [\n", f) > 0);
    CHECK_INT(fclose(f), 0);
    CHECK_INT(RUN("model", "inspect", path("text.yaml")), EXIT_USAGE);
    CHECK(errors[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_normal_run_becomes_limits),
        cmocka_unit_test(rows_stand_the_model_s_rate_apart),
        cmocka_unit_test(windows_begin_anew_behind_a_gap),
        cmocka_unit_test(what_was_calibrated_is_also_json),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(what_gateways_say_is_a_table),
        cmocka_unit_test(a_model_is_taken_apart),
        cmocka_unit_test(a_hostile_file_is_refused_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, start, end);
}
