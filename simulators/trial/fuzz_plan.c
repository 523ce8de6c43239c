/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz: a plan of weir-fleet simulate. What is read must print, and read back as the same text. */
#include <assert.h>

#include "simulators/trial/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan plan = {0}, again = {0};
    struct fault fault = {0};
    if (plan_parse(slice_of(data, size), &plan, &fault) != OK) {
        assert(plan.entries == NULL && fault.text[0] != '\0');
        return 0;
    }
    BUFFER(first, 4 << 20);
    BUFFER(second, 4 << 20);
    plan_print(&plan, &first);
    enum err err = plan_parse(buffer_slice(&first), &again, &fault);
    assert(err == OK);
    (void)err;
    plan_print(&again, &second);
    assert(slice_equal(buffer_slice(&first), buffer_slice(&second)));
    plan_deinit(&plan);
    plan_deinit(&again);
    return 0;
}
