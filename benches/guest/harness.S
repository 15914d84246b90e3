// The frame around one row: boot sector, change of mode, and the passes.
//
//   0x7C00  boot sector: loads the rest by INT 13h
//   0x8000  the row (ROW_FILE): `row_setup`, once, and `row`, BATCH iterations in COUNT
//   0xA000  mode_16.S, mode_32.S or mode_64.S, which ends at `passes`
//
// Pass k runs 2^k batches. The serial line says 0x01 at the start and 'A' + k after pass k; it goes on
// for ever, and the host, which notes when each byte comes, stops it when a pass was long enough.
// An exception that the row did not ask for says '!'. Interrupts stay off.

#include "bits.h"

#define COM1 0x3F8
#define LOADED_SECTORS 33

    .code16
    .globl start
start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $STACK_TOP, %sp
    movb %dl, boot_drive
    ljmpw $0, $load
load:
    movw $COM1 + 3, %dx          // 8 data bits, 115200 baud
    movb $0x83, %al
    outb %al, %dx
    movw $COM1, %dx
    movw $1, %ax
    outw %ax, %dx
    movw $COM1 + 3, %dx
    movb $0x03, %al
    outb %al, %dx
    movb boot_drive, %dl
    movw $packet, %si
    movb $0x42, %ah
    int $0x13
    jc load_failed
    cli                          // INT 13h may have returned with interrupts on
    movb $2, %al                 // A20
    outb %al, $0x92
    ljmpw $0, $enter_mode
load_failed:
    movb $'!', %al
    movw $COM1, %dx
    outb %al, %dx
    hlt

    .balign 4
packet:
    .byte 16, 0
    .word LOADED_SECTORS
    .word 0x7E00, 0
    .quad 1
boot_drive:
    .byte 0

    .org 510
    .word 0xAA55

    .org ROW - 0x7C00
    row_code
#include ROW_FILE

#ifndef BATCH
#define BATCH 1000
#endif

    .org 0xA000 - 0x7C00
#if BITS == 16
#include "mode_16.S"
#elif BITS == 32
#include "mode_32.S"
#else
#include "mode_64.S"
#endif

    row_code
passes:
    call row_setup
    movb $1, %al
    call mark
    movl $1, batches
    movb $'A', letter
next_pass:
    movl batches, %eax
    movl %eax, left
next_batch:
    mov $BATCH, COUNT
    call row
    decl left
    jnz next_batch
    movb letter, %al
    call mark
    incb letter
    shll $1, batches
    jmp next_pass

unexpected:
    movb $'!', %al
    call mark
1:  hlt
    jmp 1b

// Sends AL and waits until the byte has left.
mark:
    movw $COM1, %dx
    outb %al, %dx
    movw $COM1 + 5, %dx
1:  inb %dx, %al
    testb $0x40, %al
    jz 1b
    ret

    .org 0xB800 - 0x7C00         // a page that holds no code
    .balign 8
batches: .long 0
left:    .long 0
letter:  .byte 0

    .org 0xC000 - 0x7C00
