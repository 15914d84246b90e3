/*
 * The option ROM's header, its start, and INT 10h's way into C (PCI Local Bus 2.1, 6.3; VESA BIOS
 * Extension 3.0).
 *
 * The code runs in whatever mode the caller is in, real or virtual-8086, on the caller's stack:
 *
 *   CS = GS = the ROM     constants are read through GS (vga.h: ROM_DATA)
 *   DS = ES = SS          the caller's stack, so that a C pointer to a local variable works
 *   FS = 40h              the BIOS data area
 *
 * There are no variables but the stack and the data area: a ROM is read-only.
 */
#include "../bios/layout.h"

    .section .header, "ax"
    .code16
    .word 0xaa55
    .byte rom_blocks                    # of 512 bytes; the linker script counts them
    jmp start
    .org 0x18
    .word pci_data
    .word 0
    .org 0x1e
    .ascii "IBM"                        # old programs look for it at C000:001E
    .balign 4
pci_data:
    .ascii "PCIR"
    .word 0x1234, 0x1111                # QEMU's and Bochs' standard VGA
    .word 0
    .word 24
    .byte 0
    .byte 0x00, 0x00, 0x03              # class: VGA
    .word rom_blocks
    .word 1
    .byte 0                             # PC/AT code
    .byte 0x80                          # last image
    .word 0

/* Both ways in build struct registers (bios/registers.h) on the stack and pass its address. ESP's
   upper half may hold anything in real mode; C needs it to be 0. */
    .macro enter_c function
    pushl $0
    pushal
    pushw %ds
    pushw %es
    pushw %fs
    pushw %gs
    subw $2, %sp
    cld
    movl %esp, %ebx
    movzwl %sp, %esp
    movl %esp, %eax
    movw %ss, %cx
    movw %cx, %ds
    movw %cx, %es
    movw $BDA_SEGMENT, %cx
    movw %cx, %fs
    movw %cs, %cx
    movw %cx, %gs
    pushl %ebx
    calll \function
    popl %esp
    addw $2, %sp
    popw %gs
    popw %fs
    popw %es
    popw %ds
    popal
    leal 4(%esp), %esp
    .endm

start:                                  # far-called by the system BIOS
    pushfw
    enter_c initialise
    popfw
    lretw

    .global int10_entry
int10_entry:
    enter_c int10
    iretw
