// Gates of the IDT: types, privileges, targets, stacks; what is pushed and which flags change
// (Intel SDM volume 3, section 6.12).

    .irp access, 0x80,0x81,0x82,0x83,0x84,0x89,0x8B,0x8C,0x90,0x92,0x9A,0x8D,0x88,0x0E,0x0F,0x06,0x05,0x0D
    check "int through a gate of access \access"
    idt_gate 0x31, CODE0, \access
    int $0x31
    done
    .endr
    .irp access, 0x8E, 0x8F
    .irp flags, 0, 0x4300, 0x46D7, 0x240000, 0x3000
    check "int through \access with flags \flags"
    idt_gate 0x31, CODE0, \access
    eflags (\flags & ~0x100)
    int $0x31
    done
    .endr
    .endr
    .irp access, 0x8E, 0xAE, 0xCE, 0xEE
    .irp level, 1, 2, 3
    check "int from ring \level through \access"
    idt_gate 0x31, CODE0, \access
    ring \level
    int $0x31
    done
    .endr
    .endr
    .irp level, 1, 2, 3
    check "int from ring \level to a handler of its own ring"
    idt_gate 0x31, CODE\level, 0xEE
    idt_offset 0x31, 1f
    ring \level
    int $0x31
1:  done
    check "int from ring \level to conforming code"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xC
    idt_gate 0x31, SPARE, 0xEE
    idt_offset 0x31, 1f
    ring \level
    int $0x31
1:  done
    .endr
    check "int from ring 3 to ring 1"
    idt_gate 0x31, CODE1, 0xEE
    idt_offset 0x31, 1f
    ring 3
    int $0x31
1:  done
    check "int from ring 0 to ring 3"
    idt_gate 0x31, CODE3, 0xEE
    int $0x31
    done
    .irp target, 0, 3, 0x10, 0x48, 0x100, 0x0C, 0x09, 0x0B
    check "int to selector \target"
    idt_gate 0x31, \target, 0x8E
    int $0x31
    done
    .endr
    .irp access, 0x1A, 0x98, 0x9C, 0xFE, 0x7A
    check "int to code of access \access"
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    watch GDT + SPARE
    idt_gate 0x31, SPARE, 0x8E
    int $0x31
    done
    .endr
    check "int beyond the limit of its target"
    segment SPARE, CODE_BYTES-0x2000, 0xFFF, 0x9A, 0x4
    idt_gate 0x31, SPARE, 0x8E
    idt_offset 0x31, 0x2000
    int $0x31
    done
    check "int beyond the limit of the idt"
    int $0x80
    done
    check "int 16-bit gate from ring 0"
    idt_gate 0x31, CODE0_16, 0x86
    idt_offset 0x31, (1f-start)
    eflags 0x240400
    int $0x31
    .code16
1:  done
    check "int 16-bit gate from ring 3"
    idt_gate 0x31, CODE0_16, 0xE7
    idt_offset 0x31, (1f-start)
    ring 3, IF
    int $0x31
    .code16
1:  done
    .irp stack, 0, 0x11, 0x12, 0x20, 0x08, 0x100
    check "int from ring 3 to ring 1 with stack selector \stack"
    idt_gate 0x31, CODE1, 0xEE
    movl $\stack, TSS + 16
    ring 3
    int $0x31
    done
    .endr
    check "int to ring 1 with a stack not present"
    segment SPARE, 0, 0xFFFFF, 0x32, 0xC
    idt_gate 0x31, CODE1, 0xEE
    movl $SPARE + 1, TSS + 16
    ring 3
    int $0x31
    done
    check "int to ring 1 with a stack too small"
    segment SPARE, STACKS, 0xFFF, 0xB2, 0x4
    idt_gate 0x31, CODE1, 0xEE
    movl $SPARE + 1, TSS + 16
    movl $16, TSS + 12
    ring 3
    int $0x31
    done

// Instructions that raise, and what they push.
    .irp instruction, "int3", "int $3", ".byte 0xF1", "ud2", "divb %bl"
    check "\instruction"
    \instruction
    done
    check "ring 3 \instruction"
    ring 3
    \instruction
    done
    check "ring 3 \instruction through gates for ring 3"
    .irp vector, 0, 1, 3, 6, 13
    idt_gate \vector, CODE0, 0xEE
    .endr
    ring 3
    \instruction
    done
    .endr
    check "into with OF"
    movb $0x7F, %al
    incb %al
    into
    done
    check "ring 3 into with OF"
    ring 3
    movb $0x7F, %al
    incb %al
    into
    done
    check "into without OF"
    into
    done
    check "bound below"
    movl $5, SCRATCH
    movl $9, SCRATCH + 4
    movl $4, %eax
    boundl %eax, SCRATCH
    done
    check "bound at the upper end"
    movl $5, SCRATCH
    movl $9, SCRATCH + 4
    movl $9, %eax
    boundl %eax, SCRATCH
    done
    .irp vector, 8, 10, 11, 12, 13, 14, 17
    check "int \vector pushes no error code"
    int $\vector
    done
    .endr

// Faults on the way to a handler.
    check "#NP on the way to #UD"
    idt_gate 6, CODE0, 0x0E
    ud2
    done
    check "#GP on the way to #UD"
    idt_gate 6, DATA0, 0x8E
    ud2
    done
    check "#GP on the way to #DE is a double fault"
    idt_gate 0, DATA0, 0x8E
    divb %bl
    done
    check "#NP on the way to #GP is a double fault"
    idt_gate 13, CODE0, 0x0E
    movl $0x100, %eax
    movl %eax, %ds
    done
    check "#NP on the way to #NP is a double fault"
    idt_gate 11, CODE0, 0x0E
    segment SPARE, 0, 0xFFFFF, 0x12, 0xC
    movl $SPARE, %eax
    movl %eax, %ds
    done
    check "#NP on the way to #BR"
    idt_gate 5, CODE0, 0x0E
    movl $5, SCRATCH
    boundl %eax, SCRATCH
    done
    check "#NP on the way to #NM"
    idt_gate 7, CODE0, 0x0E
    add_cr0 CR0_TS
    fnop
    done
    check "#GP on the way to int 3"
    idt_gate 3, DATA0, 0x8E
    int3
    done
    check "double fault in ring 3"
    idt_gate 0, DATA0, 0x8E
    ring 3
    divb %bl
    done
    check "#TS on the way to #DE is a double fault"
    idt_gate 0, CODE1, 0x8E
    movl $0, TSS + 16
    ring 3
    divb %bl
    done

// IRET in protected mode.
    .macro return_to cs, eip, flags, width=l
    push\width $\flags
    push\width $\cs
    push\width $\eip
    iret\width
    .endm
    .irp cs, 0, 3, 0x08, 0x19, 0x1A, 0x3B, 0x38, 0x10, 0x48, 0x100, 0x98
    check "iret to cs \cs"
    pushl $DATA3
    pushl $RING3_TOP
    return_to \cs, 1f, 2
1:  done
    .endr
    .irp flags, 0, 0xFFFFCEFF, 0x10000, 0x240000, 0x4000, 0x180000, 0x3000, 0x200
    check "iret with flags \flags"
    return_to CODE0, 1f, (\flags & ~VM)
1:  pushfl
    popl %ecx
    done
    check "ring 3 iret with flags \flags"
    ring 3
    return_to CODE3, 1f, (\flags & ~VM)
1:  pushfl
    popl %ecx
    done
    check "ring 1 at iopl 1 iret with flags \flags"
    ring 1, IOPL1
    return_to CODE1, 1f, (\flags & ~VM)
1:  pushfl
    popl %ecx
    done
    check "iretw with flags \flags"
    return_to CODE0_16, (1f-start), (\flags & 0xCEFF), w
    .code16
1:  pushfl
    popl %ecx
    done
    .endr
    check "ring 3 iret with VM does not enter virtual-8086 mode"
    ring 3
    return_to CODE3, 1f, VM
1:  done
    check "iret to an ip beyond the limit"
    segment SPARE, CODE_BYTES-0x1000, 0xFFF, 0x9A, 0x4
    return_to SPARE, 0x1000, 2
    done
    check "iret to virtual-8086 mode beyond 64 KiB"
    pushl $0
    pushl $0
    pushl $0
    pushl $0
    pushl $0x700
    pushl $0x1000
    return_to (CODE_BYTES>>4), 0x10000, VM
    done
    .irp ss, 0, 3, 0x10, 0x40, 0x3B, 0x100
    check "iret to ring 3 with ss \ss"
    pushl $\ss
    pushl $RING3_TOP
    return_to CODE3, 1f, 2
1:  done
    .endr
    .irp flags, 0, 0x3000
    .irp value, 0, 0x200, 0x247FD7, 0x4000, 0x180000
    check "ring 3 popf of \value with flags \flags"
    ring 3, \flags
    pushl $(\value & ~0x100)
    popfl
    pushfl
    popl %ecx
    done
    .endr
    .endr
    check "ring 0 popf of VM RF VIP VIF"
    pushl $0x1B0002
    popfl
    pushfl
    popl %ecx
    done
