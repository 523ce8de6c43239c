/* SPDX-License-Identifier: Apache-2.0 */
/* Modules for test_load, good and bad: MODULE_NAME, MODULE_ABI, MODULE_LAYOUT, MODULE_NEEDS come from the build. */
#include "cloud-bridge/sinks/module.h"

#ifdef MODULE_NEEDS
extern int nobody_has_this(void);
#endif

static enum err fake_write(void *sink, const struct sink_batch *batch, struct fault *reterr)
{
    (void)sink;
    (void)batch;
    (void)reterr;
#ifdef MODULE_NEEDS
    return nobody_has_this() == 0 ? OK : ERR_IO;
#else
    return OK;
#endif
}

static void fake_close(void *sink)
{
    (void)sink;
}

static const struct sink_ops ops = {.name = MODULE_NAME, .write = fake_write, .close = fake_close};

static enum err fake_open(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr)
{
    (void)place;
    (void)item;
    (void)reterr;
    *ret_sink = (struct sink){.ops = &ops};
    return OK;
}

static const struct option table[] = {{.name = NULL}};
const struct sink_module weir_sink_module = {
    .abi = MODULE_ABI, .layout = MODULE_LAYOUT, .name = MODULE_NAME, .table = table, .open = fake_open};
