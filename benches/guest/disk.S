// One row of the disk suite: boot sector and COMMANDS transfers of SECTORS sectors each.
//
//   WAY_FILE  disk_dma.S, disk_pio.S or disk_bios.S: `prepare`, once, and `transfer`, as `packet` says
//   WRITE     1 to write, and to flush the drive's cache at the end; not with disk_bios.S
//   RANDOM    1 for places that jump about, 0 for one after another
//
// The serial line says 0x01 before the first transfer, 0x04 after the last, 0x15 on an error. Each sector
// of the area holds its own number in front: what is read is compared with it.

#define COM1 0x3F8
#define AREA_START 2048          // sectors; the area is 64 MiB
#define AREA_MASK 0x1FFFF
#define BUFFER_SEGMENT 0x1000    // 64 KiB at 0x10000
#define LOADED_SECTORS 2
#define FLUSH_CACHE 0xE7

    .code16
    .globl start
start:
    cli
    cld
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %ss
    movw $0x7000, %sp
    movb %dl, drive
    movw $BUFFER_SEGMENT, %ax
    movw %ax, %es
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
    movb $0x42, %ah
    call bios
    cli
    movw $SECTORS, packet + 2    // from now on it is the packet of the transfers
    movl $BUFFER_SEGMENT << 16, packet + 4
    jmp prepared

// INT 13h, function AH, by `packet`.
bios:
    movb drive, %dl
    movw $packet, %si
    int $0x13
    jc failed
    ret

failed:
    movb $0x15, %al
    call mark
1:  hlt
    jmp 1b

mark:
    movw $COM1, %dx
    outb %al, %dx
    ret

    .balign 4
packet:
    .byte 16, 0
    .word LOADED_SECTORS
    .word 0x7E00, 0
    .quad 1
position:
    .long 0                      // in the area
random:
    .long 1
left:
    .word COMMANDS
drive:
    .byte 0

    .org 510
    .word 0xAA55

prepared:
    call prepare
    movb $1, %al
    call mark

next:
#if RANDOM
    imull $1664525, random, %eax
    addl $1013904223, %eax
    movl %eax, random
    shrl $12, %eax
    andl $AREA_MASK & ~(SECTORS - 1), %eax
#else
    movl position, %eax
    addl $SECTORS, position
    andl $AREA_MASK, position
#endif
    addl $AREA_START, %eax
    movl %eax, packet + 8
    movl %eax, %es:0
    xorb $WRITE ^ 1, %es:0       // what is read must be what makes it right
    call transfer
    movl packet + 8, %eax
    cmpl %eax, %es:0
    jne failed
    decw left
    jnz next
#if WRITE
    movb $FLUSH_CACHE, %bl
    xorl %eax, %eax
    call issue
    call await
#endif
    movb $0x04, %al
    call mark
1:  hlt
    jmp 1b

#include WAY_FILE

    .org (1 + LOADED_SECTORS) * 512
