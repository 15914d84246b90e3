/*
 * The entry points that the IBM PC's ROM had, at the same addresses in F000 (IBM PC/AT Technical
 * Reference, BIOS listing): some programs call them without the interrupt table. Each one leads
 * into the runtime segment. The area's other contents, data tables, stand at their old places too.
 */
#include "layout.h"

    .section .fixed, "ax"
    .code16

    .macro at address
    .org \address - (FIXED_BASE & 0xffff)
    .endm

/* The old addresses leave room for a near jump only. */
    .macro entry address, target
    at \address
    jmp to_\target
    .endm

    .irp target, restart, nmi_entry, int13_entry, int19_entry, int14_entry, int16_entry, \
        irq1_entry, irq_master_entry, int17_entry, ignore_entry, int12_entry, int11_entry, \
        int15_entry, int1a_entry, irq0_entry, int05_entry
to_\target:
    ljmpw $RUNTIME_SEGMENT, $\target
    .endr

    entry 0xe05b, restart           # POST
    entry 0xe2c3, nmi_entry
    entry 0xe3fe, int13_entry
    at 0xe401                       # fixed disk parameter table, type 0: none
    .fill 16, 1, 0
    entry 0xe6f2, int19_entry

/* INT 15h AH=C0h: size, model, submodel, revision, five feature bytes. Features: two interrupt
   controllers, clock, INT 15h/4Fh is called; extended BIOS data area. */
    at 0xe6f5
    .global system_configuration
system_configuration:
    .word 8
    .byte 0xfc, 0, 1, 0x74, 0x40, 0, 0, 0

    at 0xe729                       # INT 14h's divisors for 110 to 9600 baud
    .word 0x417, 0x300, 0x180, 0xc0, 0x60, 0x30, 0x18, 0x0c
    entry 0xe739, int14_entry
    entry 0xe82e, int16_entry
    entry 0xe987, irq1_entry
    entry 0xec59, int13_entry
    entry 0xef57, irq_master_entry
    at 0xefc7                       # diskette parameters: 1.44 MB
    .byte 0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08
    entry 0xefd2, int17_entry
    entry 0xf065, ignore_entry      # INT 10h until a VGA BIOS takes it
    entry 0xf841, int12_entry
    entry 0xf84d, int11_entry
    entry 0xf859, int15_entry
    entry 0xfe6e, int1a_entry
    entry 0xfea5, irq0_entry
    at 0xff53                       # a lone IRET
    iretw
    entry 0xff54, int05_entry
