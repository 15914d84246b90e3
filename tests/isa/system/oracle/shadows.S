// What holds interrupts off: IF, STI, MOV SS, POP SS; an interrupt of the local APIC that is
// pending arrives at the first boundary that lets it in (Intel SDM volume 3, section 6.8).

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
