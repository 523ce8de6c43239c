/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start of a program on a Cortex-M4 without an OS: the vectors, data and bss, then main. Standard streams and exit go
 * over semihosting (newlib's rdimon), as under an emulator or a debugger. See memory.ld for what the symbols mean.
 *
 * There is no heap: linked with --wrap=_sbrk, whoever asks for one ends the program (71), as a fault does (70).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint8_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];
extern void initialise_monitor_handles(void);
extern int main(void);

void reset(void);
void *__wrap__sbrk(ptrdiff_t bytes);
size_t stack_used(void);

enum { UNTOUCHED = 0xa5, OUR_FRAME = 256 };

void reset(void)
{
    volatile uint32_t *cpacr = (volatile uint32_t *)0xE000ED88; /* ARMv7-M, B3.2.20: lets the FPU be used */
    *cpacr |= 0xFU << 20;
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    memset(bss_end, UNTOUCHED, (size_t)(stack_top - bss_end) - OUR_FRAME);
    initialise_monitor_handles();
    exit(main());
}

/* Bytes of the stack that were ever written. */
size_t stack_used(void)
{
    const volatile uint8_t *at = bss_end;
    while (at < stack_top && *at == UNTOUCHED) {
        at++;
    }
    return (size_t)(stack_top - at);
}

void *__wrap__sbrk(ptrdiff_t bytes)
{
    (void)bytes;
    exit(71);
}

static void fault(void)
{
    exit(70);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {stack_top, reset, fault, fault,
                                                                             fault,     fault, fault};
