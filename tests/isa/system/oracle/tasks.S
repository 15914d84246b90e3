// Task switches through 32-bit and 16-bit TSSs: by JMP, CALL, INT, exceptions and IRET; busy bits,
// links, NT, TS and the T bit; what is wrong with the new task (Intel SDM volume 3, chapter 7).

// A task of 32 bits in TSS2 that goes on at `entry`, in the ring of `cs`.
    .macro task_32 entry, cs=CODE0, ss=DATA0, eflags=2
    movl $INNER0_TOP, TSS2 + 4
    movl $DATA0, TSS2 + 8
    movl $\entry, TSS2 + 32
    movl $\eflags, TSS2 + 36
    movl $0x10101010, TSS2 + 40
    movl $0x11111111, TSS2 + 44
    movl $0x12121212, TSS2 + 48
    movl $0x13131313, TSS2 + 52
    movl $INNER1_TOP, TSS2 + 56
    movl $DATA3, TSS2 + 72
    movl $\cs, TSS2 + 76
    movl $\ss, TSS2 + 80
    movl $DATA3, TSS2 + 84
    movl $0, TSS2 + 88
    movl $0, TSS2 + 92
    movl $LOCAL, TSS2 + 96
    movl $0x680000, TSS2 + 100
    watch GDT+TASK, GDT+TASK2, TSS2, TSS+32
    .endm

// A task of 16 bits in TSS16.
    .macro task_16 entry
    movw $0x1000, TSS16 + 2
    movw $DATA0, TSS16 + 4
    movw $\entry, TSS16 + 14
    movw $2, TSS16 + 16
    movw $0x1010, TSS16 + 18
    movw $0x1111, TSS16 + 20
    movw $0x1212, TSS16 + 22
    movw $0x1313, TSS16 + 24
    movw $INNER1_TOP, TSS16 + 26
    movw $DATA3, TSS16 + 34
    movw $CODE0_16, TSS16 + 36
    movw $DATA0_16, TSS16 + 38
    movw $DATA0, TSS16 + 40
    movw $LOCAL, TSS16 + 42
    movl $0xEEEEEEEE, %eax
    watch GDT+TASK, GDT+TASK16, TSS16, TSS+32
    .endm

// Clears the upper halves that a 16-bit TSS leaves undefined (SDM 3, 7.6).
    .macro narrow
    movzwl %ax, %eax
    movzwl %bx, %ebx
    movzwl %cx, %ecx
    movzwl %dx, %edx
    movzwl %sp, %esp
    .endm

    .irp transfer, ljmp, lcall
    check "\transfer to a 32-bit task"
    task_32 1f
    \transfer $TASK2, $0
1:  done
    check "\transfer to a 32-bit task, its frame"
    task_32 1f
    watch TSS+36, TSS+56, TSS+72, TSS+80
    movl $0xAAAAAAAA, %eax
    movl $0x240AD7, %ecx
    pushl %ecx
    popfl
    \transfer $TASK2, $0
1:  done
    check "\transfer to a 32-bit task through a task gate"
    task_32 1f
    gate SPARE, TASK2, 0, 0x85
    \transfer $SPARE, $0
1:  done
    check "\transfer to a 16-bit task"
    task_16 (1f-start)
    \transfer $TASK16, $0
    .code16
1:  narrow
    done
    check "\transfer from a 16-bit task"
    task_32 1f
    movw $TASK16, %ax
    ltr %ax
    movl $0xAAAAAAAA, %eax
    watch TSS16, TSS16+14, TSS16+22, TSS16+34
    \transfer $TASK2, $0
1:  done
    check "\transfer to the task itself"
    task_32 1f
    \transfer $TASK, $0
1:  done
    check "\transfer to a busy task"
    task_32 1f
    movb $0x8B, GDT + TASK2 + 5
    \transfer $TASK2, $0
1:  done
    check "\transfer to a task not present"
    task_32 1f
    movb $0x09, GDT + TASK2 + 5
    \transfer $TASK2, $0
1:  done
    check "\transfer to a task too short"
    task_32 1f
    movb $0x66, GDT + TASK2
    \transfer $TASK2, $0
1:  done
    check "\transfer to a 16-bit task too short"
    task_16 (1f-start)
    movb $0x2A, GDT + TASK16
    \transfer $TASK16, $0
    .code16
1:  narrow
    done
    check "\transfer from ring 3 to a task of ring 0"
    task_32 1f
    ring 3
    \transfer $TASK2, $0
1:  done
    check "\transfer from ring 3 to a task of dpl 3"
    task_32 1f
    movb $0xE9, GDT + TASK2 + 5
    ring 3
    \transfer $TASK2, $0
1:  done
    check "\transfer through a task gate to the LDT"
    task_32 1f
    gate SPARE, 0x0C, 0, 0x85
    \transfer $SPARE, $0
1:  done
    check "\transfer through a task gate to code"
    gate SPARE, CODE0, 0, 0x85
    \transfer $SPARE, $0
    done
    check "\transfer through a task gate to nothing"
    gate SPARE, 0, 0, 0x85
    \transfer $SPARE, $0
    done
    check "\transfer through a task gate to a busy task"
    gate SPARE, TASK, 0, 0x85
    \transfer $SPARE, $0
    done
    .endr

// What a switch leaves in CR0, and in DR7.
    check "TS after a task switch"
    task_32 1f
    ljmp $TASK2, $0
1:  movl %cr0, %ecx
    andl $8, %ecx
    done
    check "local breakpoints after a task switch"
    task_32 1f
    movl $0x7FF, %eax
    movl %eax, %dr7
    ljmp $TASK2, $0
1:  movl %dr7, %ecx
    done
    check "#NM after a task switch"
    task_32 1f
    ljmp $TASK2, $0
1:  fnop
    done

// IRET along the link.
    check "iret back from a nested task"
    task_32 1f
    jmp 2f
1:  movl $0x77, %ebx
    iretl
2:  lcall $TASK2, $0
    done
    check "iret back and forth"
    task_32 1f
    movl $2, %esi
    jmp 3f
1:  incl SCRATCH
    iretl
    jmp 1b
3:  lcall $TASK2, $0
    decl %esi
    jnz 3b
    movl SCRATCH, %ecx
    done
    .irp link, 0, TASK2, 0x0C, CODE0, 0x100
    check "iret to the link \link that is no busy task"
    movw $\link, TSS
    eflags NT
    iretl
    done
    .endr
    check "iret to a busy task not present"
    movw $TASK2, TSS
    movb $0x0B, GDT + TASK2 + 5
    eflags NT
    iretl
    done
    check "ring 3 iret with NT"
    task_32 1f
    movw $TASK2, TSS
    movb $0x8B, GDT + TASK2 + 5
    ring 3, NT
    iretl
1:  done

// Interrupts and exceptions through task gates.
    check "int through a task gate"
    task_32 1f
    idt_gate 0x31, TASK2, 0x85
    int $0x31
1:  done
    check "#GP through a task gate pushes its error code"
    task_32 1f
    idt_gate 13, TASK2, 0x85
    movl $0x100, %eax
    movl %eax, %ds
1:  done
    check "#GP through a task gate to a 16-bit task"
    task_16 (1f-start)
    idt_gate 13, TASK16, 0x85
    movl $0x100, %eax
    movl %eax, %ds
    .code16
1:  narrow
    done
    check "#DF through a task gate"
    task_32 1f
    idt_gate 8, TASK2, 0x85
    idt_gate 0, DATA0, 0x8E
    divb %bl
1:  done
    check "int through a task gate to a busy task"
    idt_gate 0x31, TASK, 0x85
    int $0x31
    done
    check "#UD through a task gate to a task not present"
    movb $0x09, GDT + TASK2 + 5
    idt_gate 6, TASK2, 0x85
    ud2
    done
    check "ring 3 int through a task gate of dpl 0"
    idt_gate 0x31, TASK2, 0x85
    ring 3
    int $0x31
    done

// What is wrong with the new task, which is of ring 3, so that its handlers have a stack.
    .irp selector, 3, DATA3, 0x0B, 0x4B, 0x1F, 0x103
    check "task with cs \selector"
    task_32 1f, CODE3, DATA3
    movl $\selector, TSS2 + 76
    ljmp $TASK2, $0
1:  done
    .endr
    .irp access, 0x7A, 0x9E, 0xFE, 0xBE, 0xDA
    check "task with cs of access \access"
    task_32 1f, CODE3, DATA3
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    movl $SPARE | 3, TSS2 + 76
    ljmp $TASK2, $0
1:  done
    .endr
    .irp selector, 0, 3, 0x40, DATA0, CODE3, 0x17, 0x103
    check "task with ss \selector"
    task_32 1f, CODE3, DATA3
    movl $\selector, TSS2 + 80
    ljmp $TASK2, $0
1:  done
    check "task with ds \selector"
    task_32 1f, CODE3, DATA3
    movl $\selector, TSS2 + 84
    ljmp $TASK2, $0
1:  done
    check "task with gs \selector"
    task_32 1f, CODE3, DATA3
    movl $\selector, TSS2 + 92
    ljmp $TASK2, $0
1:  done
    .endr
    .irp access, 0x72, 0xF0, 0xF8
    check "task with ss of access \access"
    task_32 1f, CODE3, DATA3
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    movl $SPARE | 3, TSS2 + 80
    ljmp $TASK2, $0
1:  done
    check "task with es of access \access"
    task_32 1f, CODE3, DATA3
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    movl $SPARE | 3, TSS2 + 72
    ljmp $TASK2, $0
1:  done
    .endr
    .irp selector, 0, 4, 0x0C, DATA0, TASK, 0x100
    check "task with ldt \selector"
    task_32 1f, CODE3, DATA3
    movl $\selector, TSS2 + 96
    ljmp $TASK2, $0
1:  sldt %ecx
    done
    .endr
    check "task with an ldt not present"
    task_32 1f, CODE3, DATA3
    movb $0x02, GDT + LOCAL + 5
    ljmp $TASK2, $0
1:  done
    check "task with eip beyond the limit"
    segment SPARE, CODE_BYTES-0x1000, 0xFFF, 0xFA, 4
    task_32 0x1000, SPARE+3, DATA3
    ljmp $TASK2, $0
    done
    check "task in virtual-8086 mode"
    task_32 0, (CODE_BYTES>>4), (RING3_TOP>>4), VM+2
    movl $0x1234, TSS2 + 84
    ljmp $TASK2, $0
    done
    check "task with TF"
    task_32 1f, CODE3, DATA3, TF+2
    ljmp $TASK2, $0
1:  nop
    nop
    done
    check "task with the T bit"
    task_32 1f, CODE3, DATA3
    movb $1, TSS2 + 100
    ljmp $TASK2, $0
1:  done
    check "task with the T bit and TF"
    task_32 1f, CODE3, DATA3, TF+2
    movb $1, TSS2 + 100
    ljmp $TASK2, $0
1:  nop
    done
    check "task switch with TF in the old task"
    task_32 1f, CODE3, DATA3
    pushl $TF+2
    popfl
    ljmp $TASK2, $0
1:  nop
    done

// NMIs and interrupts through task gates.
    .macro outside how
    .ifc "\how", "an NMI"
    send_nmi
    wait_nmi
    .else
    sti
    nop
    .endif
    .endm
    .irp how, "an NMI", "an interrupt"
    .ifc "\how", "an NMI"
    .set number, 2
    .else
    .set number, VECTOR
    .endif
    .irp level, 0, 3
    check "\how in ring \level through a task gate"
    task_32 1f
    idt_gate number, TASK2, 0x85
    call pend
    .if \level
    ring 3, IOPL3
    .endif
    outside "\how"
1:  done
    .endr
    check "\how through a task gate to a 16-bit task"
    task_16 (1f-start)
    idt_gate number, TASK16, 0x85
    call pend
    outside "\how"
    .code16
1:  narrow
    done
    check "\how through a task gate, then iret"
    task_32 1f
    idt_gate number, TASK2, 0x85
    call pend
    outside "\how"
1:  movl $2f, TSS + 32
    iretl
2:  done
    check "\how through a task gate to a busy task"
    idt_gate number, TASK, 0x85
    call pend
    outside "\how"
    done
    check "\how through a task gate to a task not present"
    movb $0x09, GDT + TASK2 + 5
    idt_gate number, TASK2, 0x85
    call pend
    outside "\how"
    done
    check "\how through a task gate not present"
    idt_gate number, TASK2, 0x05
    call pend
    outside "\how"
    done
    check "\how through a task gate to a task too short"
    task_32 1f
    movb $0x66, GDT + TASK2
    idt_gate number, TASK2, 0x85
    call pend
    outside "\how"
1:  done
    check "\how through a task gate to the LDT"
    idt_gate number, 0x0C, 0x85
    call pend
    outside "\how"
    done
    check "\how through a task gate to a task with ss 0"
    task_32 1f, CODE3, DATA3
    movl $0, TSS2 + 80
    idt_gate number, TASK2, 0x85
    call pend
    outside "\how"
1:  done
    .endr
    check "a second NMI in the task of the first comes after its iret"
    task_32 1f
    idt_gate 2, TASK2, 0x85
    send_nmi
    wait_nmi
1:  incl %ebx
    send_nmi
    no_nmi
    incl %ebx
    iretl
    done
    check "an NMI wakes a HLT through a task gate"
    task_32 1f
    idt_gate 2, TASK2, 0x85
    route_timer NMI
    count $0, $4
6:  hlt
7:  jmp 6b
1:  cmpl $7b, TSS + 32          // or it came before
    je 3f
    count $0, $4
    iretl
    jmp 1b
3:  route_timer MASKED
    xorl %eax, %eax
    done
