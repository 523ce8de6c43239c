/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATEWAY_BUDGET_BUDGET_INTERNAL_H
#define GATEWAY_BUDGET_BUDGET_INTERNAL_H

#include "gateway/budget/budget.h"

/* Our clock at this monotonic time. */
int64_t budget_clock(struct budget *b, int64_t now_us);
/* Spent now, on our clock as it stands. */
void budget_put(struct budget *b, unsigned lane, uint64_t bytes);

#endif
