/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "simulators/load/load_internal.h"

enum { CONNECTIONS_AN_ADDRESS = 4000 };

const char *load_source(const char *host, unsigned connection, char text[SOURCE_BYTES])
{
    struct in_addr address;
    bool loopback = inet_pton(AF_INET, host, &address) == 1 &&
                    ntohl(address.s_addr) >> 24 == 127;
    if (!loopback) {
        return NULL;
    }
    (void)snprintf(text, SOURCE_BYTES, "127.0.1.%u", 1 + connection / CONNECTIONS_AN_ADDRESS % 250);
    return text;
}

uint64_t machine_rss_bytes(void)
{
    unsigned long long total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%llu %llu", &total, &resident) != 2) {
        resident = 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
