/*
 * From the reset vector to 32-bit POST, and back into a program that reset the CPU on purpose.
 *
 * The CPU starts with CS.base = FFFF0000, in the copy of the ROM below 4 GiB, and this file stays
 * there (addresses below are offsets in that 64 KiB, or have ROM_HIGH_OFFSET added) until RAM has
 * been put under E0000-FFFFF and filled: before that the lower addresses may be ROM, RAM or
 * nothing.
 *
 * CMOS 0Fh, the shutdown code of the PC/AT, tells a real reset from the 286's way of leaving
 * protected mode: 5 and 0Ah jump through 40:67, 9 returns from INT 15h/87h with the stack there.
 */
#include "layout.h"

#define OFFSET(label) (label - 0xf0000)

    .section .reset, "ax"
    .code16
    .global reset_start
reset_start:
    cli
    cld
    movb $0x8f, %al             # bit 7: no NMI until POST has a stack
    outb %al, $0x70
    inb $0x71, %al
    movb %al, %bl
    movb $0x8f, %al
    outb %al, $0x70
    xorb %al, %al
    outb %al, $0x71
    cmpb $0x05, %bl
    je resume
    cmpb $0x09, %bl
    je resume
    cmpb $0x0a, %bl
    je resume

    inb $0x92, %al              # A20 on; bit 0 would reset again
    orb $0x02, %al
    andb $0xfe, %al
    outb %al, $0x92
    addr32 lgdtl %cs:OFFSET(gdt_high)
    movl $0x11, %eax
    movl %eax, %cr0
    ljmpl $CODE32, $(protected_start + ROM_HIGH_OFFSET)

    .macro config_write address, mask, value
    movl \address, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movw $0xcfc, %dx
    inl %dx, %eax
    andl \mask, %eax
    orl \value, %eax
    outl %eax, %dx
    .endm

resume:                         # RAM is as it was; only the PAM registers may have been reset
    config_write $HOST_BRIDGE_PAM0, $0x000000ff, $PAM_LOW_FINAL
    config_write $HOST_BRIDGE_PAM3, $0, $PAM_HIGH_FINAL
    xorw %ax, %ax
    movw %ax, %ds
    cmpb $0x09, %bl
    je resume_block_move
    cmpb $0x0a, %bl
    je 1f
    movb $0x20, %al             # code 5: end of interrupt first
    outb %al, $0x20
1:  ljmpw *0x467
resume_block_move:
    lssw 0x467, %sp
    popw %ds
    popw %es
    popaw
    iretw

    .balign 8
    .global gdt
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    # CODE32: flat
    .quad 0x00cf93000000ffff    # DATA32: flat
    .word 0xffff, RUNTIME_BASE & 0xffff, 0x9b00 | RUNTIME_BASE >> 16, 0     # CODE16
    .word 0xffff, 0, 0x9300, 0                                              # DATA16
gdt_end:
gdt_high:
    .word gdt_end - gdt - 1
    .long gdt + ROM_HIGH_OFFSET
    .global gdt_low
gdt_low:
    .word gdt_end - gdt - 1
    .long gdt

    .code32
protected_start:
    movw $DATA32, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    config_write $HOST_BRIDGE_ID, $-1, $0
    cmpl $I440FX_ID, %eax
    jne unknown_chipset
    config_write $HOST_BRIDGE_PAM0, $0x000000ff, $PAM_LOW_POST
    config_write $HOST_BRIDGE_PAM3, $0, $PAM_HIGH_POST
    movl $ROM_BASE + ROM_HIGH_OFFSET, %esi
    movl $ROM_BASE, %edi
    movl $ROM_SIZE / 4, %ecx
    rep movsl
    lgdtl gdt_low
    ljmpl $CODE32, $1f
1:  movl $POST_STACK_TOP, %esp
    movl $post_bss, %edi
    movl $post_bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    call post
2:  hlt
    jmp 2b

/* Nothing can be shown but on the debug port: there is no RAM to stand on. */
unknown_chipset:
    movl $(unknown_chipset_text + ROM_HIGH_OFFSET), %esi
    movl $(unknown_chipset_end - unknown_chipset_text), %ecx
    movw $0x402, %dx
    rep outsb
3:  hlt
    jmp 3b
unknown_chipset_text:
    .ascii "BIOS: no i440FX host bridge (8086:1237) at 00:00.0, cannot go on\n"
unknown_chipset_end:

    .section .reset.vector, "ax"
    .code16
    .global reset_vector
reset_vector:                   # F000:FFF0
    jmp reset_start
    .org 5
    .ascii "01/01/26"           # the layout's date, not the build's
    .byte 0
    .byte 0xfc                  # model: PC/AT
    .byte 0
