/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SIMULATORS_SIZE_SIZE_H
#define SIMULATORS_SIZE_SIZE_H

/* The verb of weir-fleet: argv[0] is the verb, the rest its options. Returns the exit code. */
int size_main(int argc, char **argv);

#endif
