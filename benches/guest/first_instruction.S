// A BIOS of 64 KiB that says 'B' on COM1 with its first instructions. Without TOUCHED_END it halts there, so that
// the emulator's CPU time is that of its start. Otherwise it writes one byte to each page of the memory from 1 MiB
// to TOUCHED_END and says 'M': what the emulator has resident then shows what it needs for itself.

#define COM1 0x3F8
#define TOUCHED_START 0x100000

    .code16
rom:
    movw $COM1 + 3, %dx          // 8 data bits
    movb $3, %al
    outb %al, %dx
    movw $COM1, %dx
    movb $'B', %al
    outb %al, %dx
    cli
#ifndef TOUCHED_END
1:  hlt
    jmp 1b
#else
    lgdtl %cs:gdtr - rom
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $8, $0xF0000 + in_protected_mode - rom

    .code32
in_protected_mode:
    movl $16, %eax
    movl %eax, %ds
    movb $2, %al                 // A20
    outb %al, $0x92
    movl $TOUCHED_START, %edi
1:  movb $1, (%edi)
    addl $0x1000, %edi
    cmpl $TOUCHED_END, %edi
    jb 1b
    movw $COM1, %dx
    movb $'M', %al
    outb %al, %dx
1:  jmp 1b

    .balign 8
gdt:
    .quad 0
    .quad 0x00CF9A000000FFFF
    .quad 0x00CF92000000FFFF
gdtr:
    .word gdtr - gdt - 1
    .long 0xF0000 + gdt - rom
#endif

    .org 0xFFF0
    .code16
    ljmpw $0xF000, $0            // the reset vector
    .org 0x10000
