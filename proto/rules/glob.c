/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/rules/rules.h"

/* Greedy with one point to go back to, the last star: what an earlier star took never has to change. */
bool rule_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || (*pattern == *text && *pattern != '\0')) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

bool rule_matches(const struct rule *rule, const char *device, const char *channel)
{
    return rule_glob(rule->devices, device) && rule_glob(rule->channels, channel);
}
