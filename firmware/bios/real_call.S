/*
 * POST's way to real mode and back: 32-bit code -> 16-bit protected code of the runtime segment ->
 * real mode -> far_call (interrupts.S) -> the same way back. Only POST comes here; the runtime
 * services never leave the mode of their caller.
 */
#include "layout.h"

    .section .post.text, "ax"
    .code32
    .global enter_real_mode
enter_real_mode:                # void enter_real_mode(void)
    pushal
    movl %esp, post_esp
    ljmpl $CODE16, $to_real

    .section .runtime.text, "ax"
    .code16
to_real:
    movw $DATA16, %ax           # 64 KiB limits, as real mode has them
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmpw $RUNTIME_SEGMENT, $1f
1:  lidtl %cs:real_mode_vectors
    xorw %ax, %ax
    movw %ax, %ss
    movl $REAL_STACK_TOP, %esp
    movw %ax, %fs
    movw %ax, %gs
    movw %cs, %ax
    movw %ax, %ds
    calll far_call
    lgdtl %cs:protected_descriptors
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE32, $to_protected

    .section .runtime.rodata, "a"
real_mode_vectors:
    .word 0x3ff
    .long 0
protected_descriptors:
    .word 5 * 8 - 1
    .long gdt

    .section .post.text, "ax"
    .code32
to_protected:
    movw $DATA32, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl post_esp, %esp
    popal
    ret

    .section .post.data, "aw"
post_esp:
    .long 0
