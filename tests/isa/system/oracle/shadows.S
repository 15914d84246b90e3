// What holds interrupts off: IF, STI, MOV SS, POP SS; an interrupt of the local APIC that is
// pending arrives at the first boundary that lets it in (Intel SDM volume 3, section 6.8).

    .set APIC, 0xFEE00000
    .set VECTOR, 0x70

    jmp shadow_checks

// Has the local APIC send itself an interrupt, which is then pending.
pend:
    movl $0, APIC + 0xB0        // the end of the last one
    movl $0x1FF, APIC + 0xF0    // enabled
    movl $0x40000 | VECTOR, APIC + 0x300
1:  testl $1 << (VECTOR % 32), APIC + 0x200 + VECTOR / 32 * 16
    jz 1b
    ret

shadow_checks:
    check "pending with IF clear"
    call pend
    nop
    done
    check "sti shields one instruction"
    call pend
    sti
    nop
    nop
    done
    check "sti and cli"
    call pend
    sti
    cli
    nop
    done
    check "popf shields nothing"
    call pend
    pushl $IF+2
    popfl
    nop
    done
    check "iret shields nothing"
    call pend
    pushl $IF+2
    pushl $CODE0
    pushl $1f
    iretl
1:  nop
    done
    check "sti and hlt"
    call pend
    sti
    hlt
    nop
    done
    check "iret to ring 3 with IF"
    call pend
    ring 3, IF
    nop
    done
    check "sti in ring 3 at iopl 3"
    call pend
    ring 3, IOPL3
    sti
    nop
    nop
    done
    check "sti before an instruction that faults"
    call pend
    sti
    ud2
    done
    check "a pending interrupt and int"
    call pend
    sti
    int $0x31
    done
    check "sti and a single step"
    call pend
    pushl $TF+2
    popfl
    sti
    nop
    nop
    done
    check "iret to virtual-8086 mode with IF"
    call pend
    v86 IF
    nop
    done
    check "sti in virtual-8086 mode at iopl 3"
    call pend
    v86 IOPL3
    sti
    nop
    nop
    done
