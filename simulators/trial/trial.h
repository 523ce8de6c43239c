/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIMULATORS_TRIAL_TRIAL_H
#define SIMULATORS_TRIAL_TRIAL_H

/* The verb of weir-fleet: argv[0] is the verb, the rest its options. Returns the exit code. */
int trial_main(int argc, char **argv);

#endif
