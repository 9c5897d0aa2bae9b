/* Part of DAQKF, under the Apache License v2.0 with LLVM Exceptions. */
/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* The processor begins at address 0. VexRiscv jumps to `trap` for each interrupt; main.c handles it. */

    .section .start, "ax"
    .global _start
_start:
    la sp, stack_top
    la a0, trap
    csrw mtvec, a0
    li a0, 0x800 /* external interrupts, once they are enabled as a whole */
    csrw mie, a0
    la a0, bss_begin
    la a1, bss_end
1:  beq a0, a1, 2f
    sw zero, 0(a0)
    addi a0, a0, 4
    j 1b
2:  call main
3:  j 3b
