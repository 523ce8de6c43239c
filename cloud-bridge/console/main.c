/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/console.h"

int main(int argc, char **argv)
{
    return console_main(argc, argv, WEIR_VERSION);
}
