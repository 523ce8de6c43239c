/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/outcome/outcome.h"

#define LEAST 1e-4

double outcome_doubt(double confidence)
{
    double doubt = 1 - confidence;
    return doubt >= LEAST ? doubt : 0;
}
