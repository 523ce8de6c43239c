/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trees - ensembles of decision trees as XGBoost saves them in JSON (its "Introduction to Model IO", schema of 1.x): boosters
 * gbtree without categorical splits; objectives reg:*, binary:logistic, binary:logitraw, multi:softprob.
 *
 *   file (at most TREES_FILE_MAX) --trees_load--> nodes in one array --trees_run--> scores
 *
 * A value below a node's condition goes left, else right; a missing one (NaN) where the node says. Sums in float32, tree by
 * tree, as XGBoost does: the results are its bits, up to the exponential function's last place.
 */
#ifndef CORE_TREES_TREES_H
#define CORE_TREES_TREES_H

#include "core/base/base.h"

struct trees;
enum { TREES_FILE_MAX = 32 << 20, TREES_FEATURES_MAX = 4096, TREES_CLASSES_MAX = 256, TREES_NODES_MAX = 1 << 22 };

/* text is needed only until return. ERR_MALFORMED: not JSON, or a field is missing, or trees that are none (cycles, children
 * outside); ERR_UNSUPPORTED: another booster, objective, or categorical splits; ERR_RANGE: above the bounds; ERR_NOMEM. */
enum err trees_load(struct slice text, struct trees **ret_trees, struct fault *reterr) MUST_CHECK;
void trees_free(struct trees *trees);
DEFINE_CLEANUP(struct trees, trees_free)
size_t trees_features(const struct trees *trees);
size_t trees_outputs(const struct trees *trees); /* 1, or the classes of multi:softprob */
size_t trees_nodes(const struct trees *trees);
size_t trees_count(const struct trees *trees);
/* rows x features in, rows x outputs out: probabilities of the classification objectives, else values. Any thread. */
void trees_run(const struct trees *trees, size_t rows, const float *in, float *out);

#endif
