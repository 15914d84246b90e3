// LAR, LSL, VERR, VERW and ARPL: every descriptor type at every DPL, from rings 0 and 3, and the
// selectors that lead nowhere (Intel SDM volume 2, LAR, LSL, VERR, VERW; volume 3, section 5.10).

// Marks what the instruction left: AX and, where ZF is set, EDX = 1.
    .macro looked_up
    movl $0, %edx
    jnz 1f
    incl %edx
1:
    .endm

    .macro look instruction, selector
    movl $0x55555555, %ecx
    movl $\selector, %ebx
    \instruction %ebx, %ecx
    looked_up
    .endm

    .macro ask instruction, selector
    movl $\selector, %ebx
    \instruction %bx
    looked_up
    .endm

// LAR; bits 19 to 16 of what it gives are undefined.
    .macro rights instruction, selector
    look \instruction, \selector
    andl $0x00F0FF00, %ecx
    .endm

    .macro types instruction, how, dpl
    .irp type, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    check "\instruction type \type dpl \dpl"
    segment SPARE, 0x123456, 0x6789A, (0x80 | \dpl << 5 | \type), 0xD
    \how \instruction, (SPARE | \dpl)
    done
    .endr
    .endm

    types lar, rights, 0
    types lsl, look, 0
    types verr, ask, 0
    types verw, ask, 0

    .macro from_ring_3 instruction, how
    .irp access, 0x90,0x92,0x98,0x9A,0x9C,0x9E,0x81,0xD0,0xF0,0xF2,0xF8,0xFA,0xFC,0xDE,0xE2,0x72
    .irp rpl, 0,3
    check "\instruction ring 3 access \access rpl \rpl"
    segment SPARE, 0x123456, 0x6789A, \access, 0x5
    ring 3
    \how \instruction, (SPARE | \rpl)
    done
    .endr
    .endr
    .endm

    from_ring_3 lar, rights
    from_ring_3 lsl, look
    from_ring_3 verr, ask
    from_ring_3 verw, ask

    .irp selector, 0, 3, 4, 0x0C, 0x14, 0x3C, 0x44, 0xF8, 0x100, 0xFFFC
    check "lar selector \selector"
    rights lar, \selector
    done
    check "verr selector \selector"
    ask verr, \selector
    done
    .endr

    .irp pair, 0x00000003, 0x00030000, 0x00010002, 0x00020001, 0x12301233, 0x12331230
    check "arpl \pair"
    movl $\pair, %ebx
    movl %ebx, %ecx
    shrl $16, %ecx
    arpl %bx, %cx
    looked_up
    done
    .endr
