/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - the operator's command `weir`: asks the daemons over their control sockets and prints what they say.
 *
 * Data goes to stdout, messages to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 degraded.
 * A verb is one row in console.c's table and one function; what it works out is a pure function over JSON documents.
 */
#ifndef CLOUD_BRIDGE_CONSOLE_CONSOLE_H
#define CLOUD_BRIDGE_CONSOLE_CONSOLE_H

/* Runs one command line and returns its exit code. */
int console_main(int argc, char **argv, const char *version);

#endif
