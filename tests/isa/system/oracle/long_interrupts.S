// Interrupts and exceptions in long mode: gates of 16 bytes, stacks of the TSS, the interrupt stack
// table, alignment; IRET; what 64-bit mode does without (Intel SDM volume 3, sections 6.14 and
// 7.7; volume 2, IRET).

    .irp access, 0x80,0x82,0x83,0x84,0x85,0x86,0x87,0x89,0x8B,0x8C,0x8E,0x8F,0x92,0x9A,0x0E,0x0F,0x05,0xEE
    check_64 "int through a gate of access \access"
    idt_gate_64 0x31, CODE0_64, \access
    int $0x31
    done
    .endr
    .irp access, 0x8E, 0x8F
    .irp flags, 0, 0x4200, 0x46D7, 0x240000, 0x3000
    check_64 "int through \access with flags \flags"
    idt_gate_64 0x31, CODE0_64, \access
    pushq $\flags | 2
    popfq
    int $0x31
    done
    .endr
    .endr
    .irp access, 0x8E, 0xAE, 0xCE, 0xEE, 0xEF
    check_64 "int from ring 3 through \access"
    idt_gate_64 0x31, CODE0_64, \access
    ring3_64
    int $0x31
    done
    check_64 "int from compatibility mode in ring 3 through \access"
    idt_gate_64 0x31, CODE0_64, \access
    compatibility 3
    int $0x31
    done
    .endr
    check_64 "int from compatibility mode in ring 0"
    compatibility 0
    int $0x31
    done
    check_64 "int from ring 3 to conforming code"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xA
    idt_gate_64 0x31, SPARE, 0xEE
    idt_offset_64 0x31, 1f
    ring3_64
    int $0x31
1:  done
    check_64 "int from ring 0 to ring 3"
    idt_gate_64 0x31, CODE3_64, 0xEE
    int $0x31
    done
    .irp target, 0, 3, 0x08, 0x10, 0x48, 0x100, 0x0C, 0x9A, 0x9B
    check_64 "int to selector \target"
    idt_gate_64 0x31, \target, 0x8E
    int $0x31
    done
    .endr
    .irp flags, 0, 2, 4, 6, 8, 0xE
    check_64 "int to code of flags \flags"
    segment SPARE, 0, 0xFFFFF, 0x9A, \flags
    idt_gate_64 0x31, SPARE, 0x8E
    int $0x31
    done
    .endr
    .irp access, 0x1A, 0x98, 0xFA, 0x92
    check_64 "int to code of access \access"
    segment SPARE, 0, 0xFFFFF, \access, 0xA
    watch GDT + SPARE
    idt_gate_64 0x31, SPARE, 0x8E
    int $0x31
    done
    .endr
    check_64 "int beyond the limit of the idt"
    int $0x80
    done
    .irp limit, 0x31E, 0x31F, 0x317
    check_64 "int with an idt of limit \limit"
    movw $\limit, SCRATCH
    movq $IDT, SCRATCH + 2
    lidt SCRATCH
    int $0x31
    done
    .endr

// Alignment and the interrupt stack table.
    .irp low, 0, 1, 2, 4, 7, 8, 9, 12, 15
    check_64 "int with rsp at \low"
    movl $RING0_TOP - 0x40 + \low, %esp
    int $0x31
    done
    check_64 "#GP with rsp at \low"
    movl $RING0_TOP - 0x40 + \low, %esp
    movl $0x100, %eax
    movl %eax, %ds
    done
    check_64 "RSP0 at \low"
    addl $\low - 0x40, TSS + 4
    ring3_64
    ud2
    done
    check_64 "IST1 at \low"
    addl $\low - 0x40, TSS + 36
    idt_gate_64 6, CODE0_64, 0x8E, 1
    ud2
    done
    .endr
    .irp stack, 0, 1, 2, 3, 7, 9
    check_64 "ring 0 through stack \stack"
    movl $IST2_TOP, TSS + 52
    movl $IST2_TOP - 8, TSS + 84
    idt_gate_64 6, CODE0_64, 0x8E, \stack
    ud2
    done
    check_64 "ring 3 through stack \stack"
    movl $IST2_TOP, TSS + 52
    movl $IST2_TOP - 8, TSS + 84
    idt_gate_64 6, CODE0_64, 0x8E, \stack
    ring3_64
    ud2
    done
    .endr
    .irp limit, 0x67, 0x2B, 0x2A, 0x0B, 0x0A
    check_64 "RSP0 with a tss of limit \limit"
    movw $\limit, GDT + TASK
    movb $0x89, GDT + TASK + 5
    movl $TASK, %eax
    ltr %ax
    xorl %eax, %eax
    idt_gate_64 8, CODE0_64, 0x8E, 0
    ring3_64
    ud2
    done
    check_64 "IST1 with a tss of limit \limit"
    movw $\limit, GDT + TASK
    movb $0x89, GDT + TASK + 5
    movl $TASK, %eax
    ltr %ax
    xorl %eax, %eax
    idt_gate_64 6, CODE0_64, 0x8E, 1
    ud2
    done
    .endr
    check_64 "RSP0 not canonical"
    set_64 %rax, HOLE
    movq %rax, TSS + 4
    xorl %eax, %eax
    idt_gate_64 12, CODE0_64, 0x8E, 1
    idt_gate_64 8, CODE0_64, 0x8E, 1
    ring3_64
    ud2
    done
    check_64 "RSP0 not canonical for every exception"
    set_64 %rax, HOLE
    movq %rax, TSS + 4
    ring3_64
    ud2
    done
    check_64 "IST1 not canonical"
    set_64 %rax, HOLE
    movq %rax, TSS + 36
    xorl %eax, %eax
    idt_gate_64 6, CODE0_64, 0x8E, 1
    ud2
    done
    check_64 "a handler not canonical"
    idt_offset_64 0x31, HOLE
    int $0x31
    done
    check_64 "a handler not canonical from ring 3"
    idt_offset_64 0x31, HOLE
    idt_gate_64 0x31, CODE0_64, 0xEE
    ring3_64
    int $0x31
    done
    check_64 "a handler in the upper half"
    idt_offset_64 0x31, HIGH
    ring3_64
    done
    check_64 "rsp not canonical in ring 0"
    set_64 %rsp, HOLE+0x100
    idt_gate_64 12, CODE0_64, 0x8E, 1
    int $0x31
    done
    check_64 "rsp not canonical in ring 0, #UD"
    set_64 %rsp, HOLE+0x100
    idt_gate_64 12, CODE0_64, 0x8E, 1
    ud2
    done

// Double faults.
    check_64 "#GP on the way to #DE"
    idt_gate_64 0, DATA0, 0x8E
    divb %bl
    done
    check_64 "#NP on the way to #GP"
    idt_gate_64 13, CODE0_64, 0x0E
    movl $0x100, %eax
    movl %eax, %ds
    done
    check_64 "#GP on the way to #UD"
    idt_gate_64 6, DATA0, 0x8E
    ud2
    done
    check_64 "#GP on the way to #PF"
    idt_gate_64 14, DATA0, 0x8E
    movb $0, PT
    set_64 %rbx, LOW
    movb (%rbx), %al
    done
    check_64 "a double fault on IST1"
    idt_gate_64 0, DATA0, 0x8E
    idt_gate_64 8, CODE0_64, 0x8E, 1
    ring3_64
    divb %bl
    done
    check_64 "#GP on the way to a double fault"
    idt_gate_64 0, DATA0, 0x8E
    idt_gate_64 8, DATA0, 0x8E
    divb %bl
    done
    check_64 "the double fault's gate not present"
    idt_gate_64 13, CODE0_64, 0x0E
    idt_gate_64 8, CODE0_64, 0x0E
    movl $0x100, %eax
    movl %eax, %ds
    done

    .irp instruction, "int3", ".byte 0xF1", "ud2", "divb %bl", "movl $0x100, %eax; movl %eax, %fs", "hlt"
    check_64 "ring 3 \instruction"
    ring3_64
    \instruction
    done
    check_64 "ring 3 in compatibility mode \instruction"
    compatibility 3
    \instruction
    done
    .endr
    check_64 "into in compatibility mode"
    compatibility 3
    movb $0x7F, %al
    incb %al
    into
    done
    check_64 "single step in ring 3 in compatibility mode"
    compatibility 3, TF
    nop
    done
    check_64 "single step in ring 3"
    ring3_64 TF
    nop
    done

// IRET.
    .irp cs, 0, 3, 0x08, 0x0B, 0x10, 0x3B, 0x38, 0x98, 0x9B, 0xA3, 0xA0, 0xA1, 0x48, 0x100, 0x19, 0x1A
    check_64 "iretq to cs \cs"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $2
    pushq $\cs
    pushq $1f
    iretq
1:  done
    .endr
    .irp ss, 0, 1, 3, 0x10, 0x43, 0x40, 0x98, 0x100
    check_64 "iretq to ring 0 with ss \ss"
    pushq $\ss
    pushq $0x4F00
    pushq $2
    pushq $CODE0_64
    pushq $1f
    iretq
1:  done
    check_64 "iretq to ring 3 with ss \ss"
    pushq $\ss
    pushq $RING3_TOP
    pushq $2
    pushq $CODE3_64
    pushq $1f
    iretq
1:  done
    check_64 "iretq to 32-bit code in ring 3 with ss \ss"
    pushq $\ss
    pushq $RING3_TOP
    pushq $2
    pushq $CODE3
    pushq $1f
    iretq
1:  done
    check_64 "iretq to 32-bit code in ring 0 with ss \ss"
    pushq $\ss
    pushq $0x4F00
    pushq $2
    pushq $CODE0
    pushq $1f
    iretq
1:  done
    .endr
    .irp flags, 0, 0xFFCED5, 0x10000, 0x24000, 0x200, 0x3000, 0x180000, 0x20000
    check_64 "iretq with flags \flags"
    pushq $DATA0
    pushq $0x4F00
    pushq $\flags
    pushq $CODE0_64
    pushq $1f
    iretq
1:  pushfq
    popq %rcx
    done
    check_64 "ring 3 iretq with flags \flags"
    ring3_64
    pushq $DATA3
    pushq $RING3_TOP
    pushq $\flags
    pushq $CODE3_64
    pushq $1f
    iretq
1:  pushfq
    popq %rcx
    done
    check_64 "iretl in compatibility mode with flags \flags"
    compatibility 0
    pushl $\flags
    pushl $CODE0
    pushl $1f
    iretl
1:  pushfl
    popl %ecx
    done
    .endr
    check_64 "iretq with NT"
    pushq $DATA0
    pushq $0x4F00
    pushq $2
    pushq $CODE0_64
    pushq $1f
    pushq $NT | 2
    popfq
    iretq
1:  done
    check_64 "iretl with NT in compatibility mode"
    compatibility 0
    pushl $NT | 2
    popfl
    iretl
    done
    check_64 "iretl in 64-bit mode"
    movl $0x4E00, %esp
    movl $1f, (%rsp)
    movl $CODE3_64, 4(%rsp)
    movl $2, 8(%rsp)
    movl $RING3_TOP, 12(%rsp)
    movl $DATA3, 16(%rsp)
    iretl
1:  done
    check_64 "iretw in 64-bit mode"
    movl $0x4E00, %esp
    movl $0x60CD, CODE_BYTES
    movw $CODE_BYTES, (%rsp)
    movw $CODE3_64, 2(%rsp)
    movw $2, 4(%rsp)
    movw $RING3_TOP - 0x100, 6(%rsp)
    movw $DATA3, 8(%rsp)
    iretw
    done
    .irp rip, HOLE, 0xFFFF7FFFFFFFFFFF, 0x8000000000000000
    check_64 "iretq to \rip"
    pushq $DATA0
    pushq $0x4F00
    pushq $2
    pushq $CODE0_64
    set_64 %rax, \rip
    pushq %rax
    iretq
    done
    check_64 "iretq to ring 3 to \rip"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $2
    pushq $CODE3_64
    set_64 %rax, \rip
    pushq %rax
    iretq
    done
    .endr
    check_64 "iretq to rsp not canonical"
    pushq $DATA0
    set_64 %rax, HOLE
    pushq %rax
    pushq $2
    pushq $CODE0_64
    pushq $1f
    iretq
1:  movq %rsp, %rcx
    movl $RING0_TOP, %esp
    done
    check_64 "iretq to 32-bit code beyond 4 GiB"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $2
    pushq $CODE3
    set_64 %rax, 0x100000000
    pushq %rax
    iretq
    done
    check_64 "iretq to code of both sizes"
    segment SPARE, 0, 0xFFFFF, 0x9A, 0xE
    pushq $DATA0
    pushq $0x4F00
    pushq $2
    pushq $SPARE
    pushq $1f
    iretq
1:  done
    check_64 "iretq takes segments of ring 0 away"
    movl $DATA0, %ecx
    movl %ecx, %fs
    movl $DATA3, %ecx
    movl %ecx, %gs
    write_msr FS_BASE, 0x1234, 0x56789000
    ring3_64
    done
    check_64 "iretq with a frame not canonical"
    set_64 %rsp, HOLE
    idt_gate_64 12, CODE0_64, 0x8E, 1
    iretq
    done
