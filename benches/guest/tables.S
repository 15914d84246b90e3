// Descriptors for 32 and 64-bit rows, in the order that SYSCALL and SYSRET want.

    .balign 8
gdt:
    .quad 0
    .quad 0x00CF9A000000FFFF     // 08 ring 0 code, 32-bit
    .quad 0x00CF92000000FFFF     // 10 ring 0 data
    .quad 0x00AF9A000000FFFF     // 18 ring 0 code, 64-bit
    .quad 0x00CF92000000FFFF     // 20 SS after SYSCALL
    .quad 0x00CFFA000000FFFF     // 28 ring 3 code, 32-bit
    .quad 0x00CFF2000000FFFF     // 30 ring 3 data
    .quad 0x00AFFA000000FFFF     // 38 ring 3 code, 64-bit
    .word 0x67, TSS & 0xFFFF     // 40 TSS
    .byte TSS >> 16, 0x89, 0, 0
    .quad 0
gdt_end:

gdtr:
    .word gdt_end - gdt - 1
    .long gdt
idtr:
    .word 256 * 16 - 1
    .quad IDT
