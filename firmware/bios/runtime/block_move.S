/*
 * INT 15h AH=87h: a move with 32-bit addresses. The caller gives the two descriptors; the table is
 * used where it lies, with its second entry made to describe it (IBM: "GDT location") and the last
 * two the runtime's code and stack. 16-bit protected mode for the length of one REP MOVSW.
 */
#include "../layout.h"

    .section .runtime.text, "ax"
    .code16
    .global block_move
block_move:                     # EAX: physical address of the table, EDX: words
    pushl %esi
    pushl %edi
    pushl %ebp
    pushw %ds
    pushw %es
    movl %eax, %ebp
    movl %eax, %ecx             # the table's segment and offset
    shrl $4, %ecx
    movw %cx, %es
    andl $15, %eax
    movw $0xffff, %es:0x20(%eax)        # BIOS code
    movl $RUNTIME_BASE | 0x9b000000, %es:0x22(%eax)
    movw $0, %es:0x26(%eax)
    movw $0xffff, %es:0x28(%eax)        # stack
    movl $RUNTIME_BASE | 0x93000000, %es:0x2a(%eax)
    movw $0, %es:0x2e(%eax)
    movw $0x2f, block_move_table
    movl %ebp, block_move_table + 2
    movl %edx, %ecx
    movw %ds, %dx
    lgdtl block_move_table
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpw $0x20, $1f
1:  movw $0x28, %ax
    movw %ax, %ss
    movw $0x10, %ax
    movw %ax, %ds
    movw $0x18, %ax
    movw %ax, %es
    xorl %esi, %esi
    xorl %edi, %edi
    rep movsw
    movw $0x28, %ax             # limits of 64 KiB again
    movw %ax, %ds
    movw %ax, %es
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmpw $RUNTIME_SEGMENT, $2f
2:  movw %dx, %ss
    popw %es
    popw %ds
    popl %ebp
    popl %edi
    popl %esi
    retl

    .data
    .balign 4
block_move_table:
    .word 0
    .long 0
