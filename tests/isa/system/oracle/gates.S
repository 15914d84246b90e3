// Far jumps, calls and returns: code segments, call gates of 16 and 32 bits through all rings
// (Intel SDM volume 3, section 5.8).

// Direct far jumps and calls: every kind of code segment, DPL and RPL.
    .irp transfer, ljmp, lcall
    .irp from, 0, 3
    .irp access, 0x98, 0x9A, 0x9E, 0xBA, 0xF8, 0xFA, 0xFE, 0x7A, 0x92, 0x1A, 0x1E
    .irp rpl, 0, 3
    check "\transfer from ring \from access \access rpl \rpl"
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    watch GDT + SPARE
    .if \from
    ring \from
    .endif
    \transfer $(SPARE | \rpl), $1f
1:  done
    .endr
    .endr
    .endr
    .endr

// System descriptors as targets, of the wrong type or without presence.
    .irp access, 0x80, 0x82, 0x83, 0x86, 0x87, 0x88, 0x8B, 0x8E, 0x8F, 0x0C, 0x04, 0x05, 0x09
    check "ljmp to system access \access"
    gdt_entry SPARE, (\access << 8), (CODE0 << 16)
    ljmp $SPARE, $0
    done
    .endr

// Call gates: by the caller's ring, the target's DPL, the gate's width and DPL.
    .irp transfer, ljmp, lcall
    .irp width, 0x84, 0x8C
    .irp from, 0, 1, 3
    .irp target, CODE0, CODE1, CODE3, DATA0, 0, 0xA8
    check "\transfer gate \width from ring \from to \target"
    gate SPARE + 8, \target, 1f, (\width | 0x60), 0
    .if \width == 0x84
    gate SPARE + 8, \target, CODE_BYTES, (\width | 0x60), 0
    .endif
    .if \from
    ring \from
    .endif
    \transfer $(SPARE + 8), $0
1:  done
    .endr
    .endr
    .endr
    .endr
    .irp dpl, 0, 2, 3
    .irp rpl, 0, 3
    check "lcall gate dpl \dpl rpl \rpl from ring 2"
    gate SPARE, CODE0, 1f, (0x8C | \dpl << 5), 0
    ring 2
    lcall $(SPARE | \rpl), $0
1:  done
    .endr
    .endr

// Parameters.
    .irp count, 1, 3, 31
    check "lcall gate with \count parameters"
    gate SPARE, CODE1, 1f, 0xEC, \count
    ring 3
    pushl $0x33333333
    pushl $0x22222222
    pushl $0x11111111
    lcall $SPARE, $0
1:  done
    .endr
    check "lcall 16-bit gate with 2 parameters"
    gate SPARE, CODE0_16, (1f-start), 0xE4, 2
    ring 3
    pushl $0x22221111
    lcall $SPARE, $0
    .code16
1:  done
    .code32
    check "lcall gate to a ring whose stack is null"
    gate SPARE, CODE1, 1f, 0xEC
    movl $0, TSS + 16
    ring 3
    lcall $SPARE, $0
1:  done
    .irp stack, 0, 1, 0x22, 0x43, 0x19, 0x100
    check "lcall gate to ring 1 with stack selector \stack"
    gate SPARE, CODE1, 1f, 0xEC
    movl $\stack, TSS + 16
    ring 3
    lcall $SPARE, $0
1:  done
    .endr
    check "lcall gate to ring 1 with a stack not present"
    gate SPARE, CODE1, 1f, 0xEC
    segment SPARE + 8, 0, 0xFFFFF, 0x32, 0xC
    movl $SPARE + 8 + 1, TSS + 16
    ring 3
    lcall $SPARE, $0
1:  done
    check "lcall gate to ring 1 with a stack too small"
    gate SPARE, CODE1, 1f, 0xEC
    segment SPARE + 8, STACKS, 0xFFF, 0xB2, 0x4
    movl $SPARE + 8 + 1, TSS + 16
    movl $8, TSS + 12
    ring 3
    lcall $SPARE, $0
1:  done
    check "lcall gate with a tss too short"
    gate SPARE, CODE1, 1f, 0xEC
    segment TASK, TSS, 0x0B, 0x89
    movw $TASK, %ax
    ltr %ax
    ring 3
    lcall $SPARE, $0
1:  done
    check "lcall gate beyond the limit of its target"
    gate SPARE, SPARE + 8, 0x2000, 0xEC
    segment SPARE + 8, CODE_BYTES-0x2000, 0xFFF, 0x9A, 0x4
    lcall $SPARE, $0
    done
    check "lcall gate marks the target accessed"
    gate SPARE, SPARE + 8, 1f, 0xEC
    segment SPARE + 8, 0, 0xFFFFF, 0x9A, 0xC
    watch GDT + SPARE + 8
    lcall $SPARE, $0
1:  done

// RETF outwards, with what becomes of the data segments.
    .irp ds, 0, DATA0, DATA1, DATA3, CODE0, CODE3
    check "lret to ring 3 with ds \ds"
    movl $\ds, %eax
    movl %eax, %fs
    pushl $DATA3
    pushl $RING3_TOP
    pushl $CODE3
    pushl $1f
    lret
1:  done
    .endr
    check "lret to ring 3 with ds conforming"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xC
    movl $SPARE, %eax
    movl %eax, %ds
    pushl $DATA3
    pushl $RING3_TOP
    pushl $CODE3
    pushl $1f
    lret
1:  done
    check "lret $8 to ring 3"
    pushl $DATA3
    pushl $RING3_TOP - 8
    pushl $2
    pushl $1
    pushl $CODE3
    pushl $1f
    lret $8
1:  done
    .irp cs, 0, 3, CODE0, CODE1, CODE2, 0x38, 0x3A, 0x1B, DATA0, 0x100, TASK
    check "lret to cs \cs"
    pushl $DATA3
    pushl $RING3_TOP
    pushl $\cs
    pushl $1f
    lret
1:  done
    .endr
    .irp ss, 0, 3, DATA0, DATA1, 0x40, CODE3, 0x100
    check "lret to ring 3 with ss \ss"
    pushl $\ss
    pushl $RING3_TOP
    pushl $CODE3
    pushl $1f
    lret
1:  done
    .endr
    check "ring 3 lret inwards"
    ring 3
    pushl $CODE0
    pushl $1f
    lret
1:  done
    check "lret beyond the limit"
    segment SPARE, CODE_BYTES-0x1000, 0xFFF, 0xFA, 0x4
    pushl $DATA3
    pushl $RING3_TOP
    pushl $SPARE + 3
    pushl $0x1000
    lret
    done
    check "lret through conforming code to ring 3"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xC
    pushl $DATA3
    pushl $RING3_TOP
    pushl $SPARE + 3
    pushl $1f
    lret
1:  movl %cs, %ecx
    done
