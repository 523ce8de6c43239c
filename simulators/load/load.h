/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIMULATORS_LOAD_LOAD_H
#define SIMULATORS_LOAD_LOAD_H

/* The verb of weir-fleet: argv[0] is the verb, the rest its options. Returns the exit code. */
int load_main(int argc, char **argv);

#endif
