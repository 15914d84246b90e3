// The end of the ROM: the reset vector and the way into 32-bit protected mode. The whole ROM of
// 128 KiB is copied to CODE and goes on there, at `main`; or after a reset, at `restarted`.

    .set ROM, 0xE0000
    .set ROM_BYTES, 0x20000

    .org ROM_BYTES - 0x100
    .code16
boot:
    cli
    lgdtl %cs:boot_gdtr - start - 0x10000
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE0, $boot_32 - start + ROM
    .code32
boot_32:
    movl $DATA0, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movb $2, %al                // A20
    outb %al, $0x92
    cmpl $MARKED, MARK
    jne 1f
    ljmpl $CODE0, $restarted
1:  cld
    movl $ROM, %esi
    movl $CODE, %edi
    movl $ROM_BYTES / 4, %ecx
    rep movsl
    ljmpl $CODE0, $main
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
boot_gdtr:
    .word 23
    .long boot_gdt - start + ROM

    .org ROM_BYTES - 16
    .code16
    ljmpw $0xF000, $boot - start - 0x10000
    .org ROM_BYTES
