// Transfers of control in long mode: far jumps, calls and returns between 64-bit and compatibility
// code, call gates of 16 bytes, SYSCALL, SYSRET, SYSENTER and SYSEXIT, and targets that are not
// canonical (Intel SDM volume 3, sections 5.8.3, 5.8.7 and 5.8.8; AMD64 APM volume 2, section 6.1).

    jmp transfer_checks
    .balign 8
far_pointer: .quad 0, 0

transfer_checks:
// Far jumps and calls through memory, in 64-bit mode.
    .macro point_to selector, target
    movl $\target, far_pointer
    movl $\selector, far_pointer + 4
    .endm
    .irp instruction, ljmpl, lcalll
    .irp target, 0, 0x08, 0x10, 0x3B, 0x38, 0x98, 0x9B, 0xA3, 0x48, 0x0C, 0x100, 0x78
    check_64 "\instruction to selector \target"
    point_to \target, 1f
    \instruction *far_pointer
1:  done
    .endr
    .irp flags, 0, 2, 4, 6, 8, 0xE, 0xA, 0xC
    check_64 "\instruction to code of flags \flags"
    segment SPARE, 0, 0xFFFFF, 0x9A, \flags
    point_to SPARE, 1f
    \instruction *far_pointer
1:  done
    .endr
    check_64 "\instruction to conforming code"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xA
    ring3_64
    point_to SPARE+3, 1f
    \instruction *far_pointer
1:  done
    check_64 "\instruction to 32-bit code beyond its limit"
    segment SPARE, 0, 0xFFF, 0x9A, 0x4
    point_to SPARE, 0x1000
    \instruction *far_pointer
    done
    check_64 "\instruction from compatibility mode to 64-bit code"
    compatibility 0
    point_to CODE0_64, 1f
    \instruction *far_pointer
1:  done
    check_64 "\instruction from compatibility mode in ring 3 to 64-bit code"
    compatibility 3
    point_to CODE3_64, 1f
    \instruction *far_pointer
1:  done
    check_64 "\instruction to 16-bit code"
    point_to CODE0_16, (1f-start)
    \instruction *far_pointer
1:  done
    .endr
    check_64 "ljmpq to a selector"
    movq $1f, far_pointer
    movw $CODE0_64, far_pointer + 8
    movw $CODE0, far_pointer + 4
    rex64 ljmpl *far_pointer
1:  done
    check_64 "lcallw to a selector"
    movl $CODE0_64 << 16 | CODE_BYTES, far_pointer
    movl $0x60CD, CODE_BYTES
    lcallw *far_pointer
    done

// Call gates.
    .irp access, 0x80,0x82,0x84,0x85,0x89,0x8B,0x8C,0x8E,0xEC,0x0C,0xCC
    .irp level, 0, 3
    check_64 "lcall in ring \level through a gate of access \access"
    gate_64 SPARE, CODE0_64, 1f, \access
    .if \level
    ring3_64
    .endif
    point_to SPARE, 0
    lcalll *far_pointer
1:  done
    .endr
    .endr
    .irp upper, 1, 0x0C, 0x1F, 0x10, 0x20
    check_64 "lcall through a gate with type \upper in its upper half"
    gate_64 SPARE, CODE0_64, 1f, 0x8C, \upper
    point_to SPARE, 0
    lcalll *far_pointer
1:  done
    .endr
    .irp target, 0, 0x08, 0x10, 0x9B, 0xA3, 0x3B, 0x100, 0x0C, 0x48
    check_64 "lcall through a gate to selector \target"
    gate_64 SPARE, \target, 1f, 0xEC
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
1:  done
    check_64 "ljmp through a gate to selector \target"
    gate_64 SPARE, \target, 1f, 0xEC
    point_to SPARE, 0
    ljmpl *far_pointer
1:  done
    .endr
    check_64 "ljmp in ring 3 through a gate to ring 0"
    gate_64 SPARE, CODE0_64, 1f, 0xEC
    ring3_64
    point_to SPARE, 0
    ljmpl *far_pointer
1:  done
    check_64 "ljmp in ring 3 through a gate to ring 3"
    gate_64 SPARE, CODE3_64, 1f, 0xEC
    ring3_64
    point_to SPARE, 0
    ljmpl *far_pointer
1:  done
    check_64 "lcall from compatibility mode through a gate"
    gate_64 SPARE, CODE0_64, 1f, 0xEC
    compatibility 3
    lcall $SPARE, $0
1:  done
    check_64 "lcall from compatibility mode in ring 0 through a gate"
    gate_64 SPARE, CODE0_64, 1f, 0x8C
    compatibility 0
    lcall $SPARE, $0
1:  done
    check_64 "lcall through a gate at the end of the table"
    gate_64 (GDT_LIMIT-7), CODE0_64, 1f, 0x8C
    point_to (GDT_LIMIT-7), 0
    lcalll *far_pointer
1:  done
    check_64 "lcall through a gate to the upper half"
    gate_64 SPARE, CODE0_64, HIGH, 0xEC
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
    done
    check_64 "lcall through a gate not canonical"
    gate_64 SPARE, CODE0_64, HOLE, 0xEC
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
    done
    check_64 "ljmp through a gate not canonical"
    gate_64 SPARE, CODE0_64, HOLE, 0xEC
    point_to SPARE, 0
    ljmpl *far_pointer
    done
    check_64 "lcall through a gate with RSP0 not canonical"
    gate_64 SPARE, CODE0_64, 1f, 0xEC
    set_64 %rax, HOLE
    movq %rax, TSS + 4
    xorl %eax, %eax
    idt_gate_64 12, CODE0_64, 0x8E, 1
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
1:  done
    check_64 "lcall through a gate with RSP0 not aligned"
    gate_64 SPARE, CODE0_64, 1f, 0xEC
    subl $3, TSS + 4
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
1:  done
    check_64 "lretq from a call gate"
    gate_64 SPARE, CODE0_64, 2f, 0xEC
    ring3_64
    point_to SPARE, 0
    lcalll *far_pointer
    jmp 1f
2:  lretq
1:  done

// Far returns.
    .irp width, q, l
    .irp target, 0, 0x08, 0x10, 0x3B, 0x38, 0x98, 0x9B, 0xA3, 0x48, 0x0C, 0x100
    check_64 "lret\width to selector \target"
    .ifc \width, q
    pushq $DATA3
    pushq $RING3_TOP
    pushq $\target
    pushq $1f
    .else
    subq $16, %rsp
    movl $1f, (%rsp)
    movl $\target, 4(%rsp)
    movl $RING3_TOP, 8(%rsp)
    movl $DATA3, 12(%rsp)
    .endif
    lret\width
1:  done
    .endr
    .irp target, 0xA3, 0x3B
    .irp ss, 0, 3, 0x43, 0x40, 0x98
    check_64 "lret\width to selector \target with ss \ss"
    .ifc \width, q
    pushq $\ss
    pushq $RING3_TOP
    pushq $\target
    pushq $1f
    .else
    subq $16, %rsp
    movl $1f, (%rsp)
    movl $\target, 4(%rsp)
    movl $RING3_TOP, 8(%rsp)
    movl $\ss, 12(%rsp)
    .endif
    lret\width
1:  done
    .endr
    .endr
    .endr
    check_64 "lretl in compatibility mode to 64-bit code"
    compatibility 0
    pushl $CODE0_64
    pushl $1f
    lretl
1:  done
    check_64 "lretl in compatibility mode to 64-bit code in ring 3"
    compatibility 0
    pushl $DATA3
    pushl $RING3_TOP
    pushl $CODE3_64
    pushl $1f
    lretl
1:  done
    check_64 "lretq that discards"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $5
    pushq $5
    pushq $CODE3_64
    pushq $1f
    lretq $16
1:  done

// Targets that are not canonical.
    .irp target, HOLE, 0xFFFF7FFFFFFFFFFF, 0x8000000000000000
    check_64 "jmp to \target"
    set_64 %rbx, \target
    jmp *%rbx
    done
    check_64 "call to \target"
    set_64 %rbx, \target
    call *%rbx
    done
    check_64 "ret to \target"
    set_64 %rbx, \target
    pushq %rbx
    ret
    done
    check_64 "ret \target and discard"
    set_64 %rbx, \target
    pushq %rbx
    ret $8
    done
    check_64 "lretq to \target"
    set_64 %rbx, \target
    pushq $CODE0_64
    pushq %rbx
    lretq
    done
    check_64 "lretq to ring 3 to \target"
    set_64 %rbx, \target
    pushq $DATA3
    pushq $RING3_TOP
    pushq $CODE3_64
    pushq %rbx
    lretq
    done
    check_64 "sysretq to \target"
    write_msr EFER, 0, (EFER_LME+EFER_SCE)
    write_msr STAR, (CODE2<<16|CODE0), 0
    set_64 %rcx, \target
    movl $2, %r11d
    sysretq
    done
    check_64 "ring 3 jmp to \target"
    ring3_64
    set_64 %rbx, \target
    jmp *%rbx
    done
    .endr
    check_64 "an instruction that ends at the hole"
    movb $0x90, PAGE + 0x1FFF
    set_64 %rbx, (HOLE-1)
    jmp *%rbx
    done
    check_64 "an instruction across into the hole"
    movb $0xB8, PAGE + 0x1FFF
    set_64 %rbx, (HOLE-1)
    jmp *%rbx
    done
    check_64 "a branch into the hole"
    movw $0x00EB, PAGE + 0x1FFE
    set_64 %rbx, (HOLE-2)
    jmp *%rbx
    done
    check_64 "a branch into the hole further on"
    movw $0x10EB, PAGE + 0x1FFE
    set_64 %rbx, (HOLE-2)
    jmp *%rbx
    done
    check_64 "a conditional branch into the hole"
    movw $0x1074, PAGE + 0x1FFE
    set_64 %rbx, (HOLE-2)
    xorl %eax, %eax
    jmp *%rbx
    done
    check_64 "a call into the hole"
    movl $0x10E890, PAGE + 0x1FFA
    movw $0, PAGE + 0x1FFE
    set_64 %rbx, (HOLE-5)
    jmp *%rbx
    done
    check_64 "a branch backwards into the hole"
    movw $0xF0EB, PAGE
    set_64 %rbx, HIGH
    jmp *%rbx
    done
    check_64 "int at the end of the lower half"
    movw $0x60CD, PAGE + 0x1FFE
    set_64 %rbx, (HOLE-2)
    jmp *%rbx
    done

// SYSCALL and SYSRET.
    .macro system_calls high, low=0
    write_msr EFER, 0, (EFER_LME+EFER_SCE)
    write_msr STAR, \high, \low
    write_msr LSTAR, 0, 1f
    write_msr CSTAR, 0, 1f
    .endm
    .irp star, 0x00980098, 0x001B0098, 0x00080010, 0x00000000, 0xFFFFFFFF
    check_64 "syscall with \star"
    system_calls \star
    syscall
1:  done
    check_64 "ring 3 syscall with \star"
    system_calls \star
    ring3_64 0x240
    syscall
1:  done
    check_64 "ring 3 in compatibility mode syscall with \star"
    system_calls \star
    compatibility 3
    syscall
1:  done
    check_64 "sysretq with \star"
    system_calls \star
    movl $1f, %ecx
    movl $0x246, %r11d
    sysretq
1:  done
    check_64 "sysretl with \star"
    system_calls \star
    movl $1f, %ecx
    movl $0x246, %r11d
    sysretl
1:  done
    .endr
    .irp mask, 0, 0x47700, 0xFFFFFFFF
    check_64 "syscall with mask \mask"
    system_calls 0x00980098
    write_msr SFMASK, 0, \mask
    pushq $0x244ED5
    popfq
    syscall
1:  pushfq
    popq %rdx
    done
    check_64 "ring 3 syscall with TF and mask \mask"
    system_calls 0x00980098
    write_msr SFMASK, 0, \mask
    ring3_64 0x100
    syscall
1:  nop
    done
    .endr
    .irp flags, 0, 2, 0xFFFFFEFF, 0x10000, 0x20000, 0x3000, 0x4000
    check_64 "sysretq with flags \flags"
    system_calls 0x00980098
    movl $1f, %ecx
    movl $\flags, %r11d
    sysretq
1:  pushfq
    popq %rdx
    done
    .endr
    check_64 "sysretq with TF"
    system_calls 0x00980098
    movl $1f, %ecx
    movl $0x102, %r11d
    sysretq
1:  nop
    nop
    done
    check_64 "sysretl beyond 4 GiB"
    system_calls 0x00980098
    set_64 %rcx, (1f+0x500000000)
    movl $2, %r11d
    sysretl
1:  done
    .irp instruction, syscall, sysretq, sysretl
    check_64 "\instruction without SCE"
    movl $1f, %ecx
    \instruction
1:  done
    check_64 "ring 3 \instruction without SCE"
    ring3_64
    movl $1f, %ecx
    \instruction
1:  done
    .endr
    .irp instruction, sysretq, sysretl
    check_64 "ring 3 \instruction"
    system_calls 0x00980098
    ring3_64
    movl $1f, %ecx
    \instruction
1:  done
    .endr
    check_64 "sysretl in compatibility mode"
    system_calls 0x00980098
    compatibility 0
    movl $1f, %ecx
    sysretl
1:  done

// SYSENTER and SYSEXIT.
    .irp cs, 0, 3, 8, 0x98
    check_64 "sysenter with cs \cs"
    write_msr 0x174, 0, \cs
    write_msr 0x175, 0, RING0_TOP
    write_msr 0x176, 0, 1f
    sysenter
1:  done
    check_64 "ring 3 in compatibility mode sysenter with cs \cs"
    write_msr 0x174, 0, \cs
    write_msr 0x175, 0, RING0_TOP
    write_msr 0x176, 0, 1f
    compatibility 3
    sysenter
1:  done
    check_64 "sysexitl with cs \cs"
    write_msr 0x174, 0, \cs
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    sysexitl
1:  done
    check_64 "sysexitq with cs \cs"
    write_msr 0x174, 0, \cs
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    sysexitq
1:  done
    .endr
    .irp instruction, sysenter, sysexitl
    check_64 "ring 3 \instruction"
    write_msr 0x174, 0, 8
    write_msr 0x175, 0, RING0_TOP
    write_msr 0x176, 0, 1f
    ring3_64
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    \instruction
1:  done
    .endr
