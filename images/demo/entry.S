# Entry from the boot sector, and the first instructions of every interrupt.
#
# Enters `kernel_main` with flat segments, a cleared .bss and interrupts off. Each interrupt pushes
# the same `struct trap_frame` (trap.h) and calls `trap`, whatever its kind.

#include "layout.h"

    .section .text
    .globl  entry
entry:
    movw    $0x10, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %fs
    movw    %ax, %gs
    movw    %ax, %ss
    movl    $STACK_TOP, %esp
    lgdt    gdt_pointer
    ljmp    $8, $1f
1:  cld
    movl    $bss_start, %edi
    movl    $bss_end, %ecx
    subl    %edi, %ecx
    xorl    %eax, %eax
    rep stosb
    call    kernel_main
2:  cli
    hlt
    jmp     2b

    .balign 8
gdt:
    .quad   0
    .quad   0x00CF9A000000FFFF
    .quad   0x00CF92000000FFFF
gdt_pointer:
    .word   . - gdt - 1
    .long   gdt

# 48 stubs of 16 bytes each. Vectors 8, 10-14 and 17 push an error code; the others get a zero in
# its place.
    .balign 16
    .globl  trap_stubs
trap_stubs:
    .set    vector, 0
    .rept   48
    .balign 16
    .if     (vector != 8) && (vector < 10 || vector > 14) && (vector != 17)
    pushl   $0
    .endif
    pushl   $vector
    jmp     save
    .set    vector, vector + 1
    .endr

save:
    pushal
    cld
    pushl   %esp
    call    trap
    addl    $4, %esp
    popal
    addl    $8, %esp                    # vector and error code
    iret
