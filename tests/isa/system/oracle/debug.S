// Debug registers and #DB: single steps, breakpoints on instructions, data and ports, general
// detect, RF, and what comes first (Intel SDM volume 3, chapter 17).

// Enables breakpoint 0 for `address` with R/W `kind` and LEN `len`.
    .macro breakpoint kind, len, address
    movl $\address, %eax
    movl %eax, %dr0
    movl $0x402 | (\kind) << 16 | (\len) << 18, %eax
    movl %eax, %dr7
    xorl %eax, %eax
    .endm

// Single steps.
    .irp instruction, "nop", "incl %ecx", "pushfl", "movl %ds, %ecx", "popfl", "jmp 1f", "call 1f", "int $0x31", "int3", ".byte 0xF1", "ud2", "divb %bl", "movl %esp, %ecx", "clts", "movl %cr0, %ecx", "wbinvd", "lidt idtr"
    check "step \instruction"
    pushl $2
    pushl $TF+2
    popfl
    \instruction
1:  nop
    nop
    done
    .endr
    check "step over the instruction that clears TF"
    pushl $2
    pushl $TF+2
    popfl
    popfl
    nop
    done
    check "step over mov ss"
    movl %ss, %ecx
    pushl $TF+2
    popfl
    movl %ecx, %ss
    nop
    nop
    done
    check "step over pop ss"
    pushl %ss
    pushl $TF+2
    popfl
    popl %ss
    nop
    nop
    done
    check "step over lss"
    movl %esp, SCRATCH
    movw %ss, SCRATCH + 4
    pushl $TF+2
    popfl
    lss SCRATCH, %esp
    nop
    nop
    done
    check "step over mov ds"
    movl %ds, %ecx
    pushl $TF+2
    popfl
    movl %ecx, %ds
    nop
    done
    check "step over a repeated instruction"
    movl $SCRATCH, %edi
    movl $3, %ecx
    pushl $TF+2
    popfl
    rep stosb
    nop
    done
    check "step over the last of a repeated instruction"
    movl $SCRATCH, %edi
    movl $1, %ecx
    pushl $TF+2
    popfl
    rep stosb
    nop
    done
    check "step from iret"
    pushl $TF+2
    pushl $CODE0
    pushl $1f
    iretl
1:  nop
    nop
    done
    check "step in ring 3"
    ring 3, TF
    nop
    done
    check "step over int from ring 3"
    idt_gate 0x31, CODE3, 0xEE
    idt_offset 0x31, 1f
    ring 3
    pushl $TF+2
    popfl
    int $0x31
    nop
1:  nop
    nop
    done
    check "step over a far jump"
    pushl $TF+2
    popfl
    ljmp $CODE0, $1f
1:  nop
    done
    check "step in virtual-8086 mode"
    v86 TF
    nop
    nop
    done

// Instruction breakpoints.
    check "breakpoint on an instruction"
    breakpoint 0, 0, 1f
    nop
1:  incl %ecx
    done
    check "breakpoint on an instruction, passed with RF"
    breakpoint 0, 0, 1f
    pushl $RF+2
    pushl $CODE0
    pushl $1f
    iretl
1:  incl %ecx
    done
    check "RF lasts one instruction"
    breakpoint 0, 0, 2f
    pushl $RF+2
    pushl $CODE0
    pushl $1f
    iretl
1:  incl %ecx
2:  incl %ecx
    done
    check "RF in a repeated instruction lasts until it ends"
    breakpoint 0, 0, 1f
    movl $SCRATCH, %edi
    movl $3, %ecx
    pushl $RF+2
    pushl $CODE0
    pushl $1f
    iretl
1:  rep stosb
    done
    check "popf does not set RF"
    breakpoint 0, 0, 1f
    pushl $RF+2
    popfl
1:  incl %ecx
    done
    check "breakpoint on an instruction that faults"
    breakpoint 0, 0, 1f
1:  ud2
    done
    check "breakpoint in the middle of an instruction"
    breakpoint 0, 0, 1f+1
1:  movl $1, %ecx
    done
    check "breakpoint on a target of a jump"
    breakpoint 0, 0, 1f
    jmp 1f
    nop
1:  incl %ecx
    done
    check "breakpoint behind mov ss"
    breakpoint 0, 0, 1f
    movl %ss, %ecx
    movl %ecx, %ss
1:  incl %ecx
    done
    check "breakpoint two behind mov ss"
    breakpoint 0, 0, 1f
    movl %ss, %ecx
    movl %ecx, %ss
    nop
1:  incl %ecx
    done
    check "step and a breakpoint on the next instruction"
    breakpoint 0, 0, 1f
    pushl $TF+2
    popfl
    nop
1:  incl %ecx
    done
    check "breakpoint in ring 3"
    breakpoint 0, 0, 1f
    ring 3
1:  nop
    done
    check "breakpoint in ring 3 with RF in the image"
    breakpoint 0, 0, 8f
    ring 3, RF
    nop
    done
    check "breakpoint on a handler's first instruction"
    breakpoint 0, 0, 1f
    idt_offset 0x31, 1f
    int $0x31
1:  nop
    done
    check "two breakpoints on one instruction"
    movl $1f, %eax
    movl %eax, %dr1
    movl %eax, %dr3
    movl $0x488, %eax
    movl %eax, %dr7
    xorl %eax, %eax
1:  nop
    done
    check "local breakpoint"
    movl $1f, %eax
    movl %eax, %dr2
    movl $0x410, %eax
    movl %eax, %dr7
1:  nop
    done
    check "disabled breakpoint"
    movl $1f, %eax
    movl %eax, %dr2
1:  nop
    done

// Data breakpoints: kind 1 for writes, 3 for reads and writes; len 0, 1, 3 for 1, 2, 4 bytes.
    .irp kind, 1, 3
    .irp len, 0, 1, 3
    .irp instruction, "movb %al, SCRATCH+7", "movb %al, SCRATCH+8", "movb %al, SCRATCH+9", "movb %al, SCRATCH+11", "movb %al, SCRATCH+12", "movl %eax, SCRATCH+5", "movl %eax, SCRATCH+4", "movw %ax, SCRATCH+11", "movb SCRATCH+8, %al", "movl SCRATCH+10, %eax", "incl SCRATCH+8", "fnstenv SCRATCH", "lgdt SCRATCH+8-2; 2:"
    check "data \kind len \len \instruction"
    movw $GDT_LIMIT, SCRATCH + 6
    movl $GDT, SCRATCH + 8
    breakpoint \kind, \len, SCRATCH+8
    \instruction
    nop
    done
    .endr
    .endr
    .endr
    check "data breakpoint at an address not aligned to its length"
    breakpoint 1, 3, SCRATCH+6
    movb %al, SCRATCH + 4
    nop
    done
    check "data breakpoint on a push"
    breakpoint 1, 3, RING0_TOP-8
    pushl $1
    pushl $2
    pushl $3
    done
    check "data breakpoint on a write that faults"
    breakpoint 1, 3, SCRATCH
    movl %eax, %fs:SCRATCH
    nop
    done
    check "data breakpoint and single step"
    breakpoint 1, 3, SCRATCH
    pushl $TF+2
    popfl
    movl %eax, SCRATCH
    nop
    done
    check "data breakpoint in a repeated store"
    breakpoint 1, 0, SCRATCH+5
    movl $SCRATCH, %edi
    movl $16, %ecx
    rep stosb
    nop
    done
    check "data breakpoint in a repeated move, on its source"
    breakpoint 3, 3, SCRATCH+8
    movl $SCRATCH, %esi
    movl $SCRATCH + 0x100, %edi
    movl $8, %ecx
    rep movsl
    nop
    done
    check "data breakpoint on mov ss from memory"
    movw %ss, SCRATCH
    breakpoint 3, 1, SCRATCH
    movw SCRATCH, %ss
    nop
    nop
    done
    check "data breakpoint on an operand of mov ss, then int"
    movw %ss, SCRATCH
    breakpoint 3, 1, SCRATCH
    movw SCRATCH, %ss
    int $0x31
    nop
    done
    check "data breakpoint on a call"
    breakpoint 1, 3, RING0_TOP-4
    call 1f
    nop
1:  nop
    done
    check "data breakpoint on a descriptor"
    segment SPARE, 0, 0xFFFFF, 0x93, 0xC
    breakpoint 3, 3, GDT+SPARE
    movl $SPARE, %ecx
    movl %ecx, %fs
    nop
    done
    check "data breakpoint in ring 3"
    breakpoint 1, 3, SCRATCH
    ring 3
    movl %eax, SCRATCH
    nop
    done
    check "data breakpoint on xmm stores"
    set_cr4 CR4_OSFXSR
    breakpoint 1, 0, SCRATCH+15
    movaps %xmm0, SCRATCH
    nop
    done
    check "data breakpoint on a test"
    breakpoint 3, 0, SCRATCH
    testl %eax, SCRATCH
    nop
    done
    check "data breakpoint on cmpxchg that does not match"
    movl $5, SCRATCH
    breakpoint 1, 3, SCRATCH
    cmpxchgl %ecx, SCRATCH
    nop
    done
    check "two data breakpoints"
    movl $SCRATCH, %eax
    movl %eax, %dr1
    movl $SCRATCH + 2, %eax
    movl %eax, %dr2
    movl $0x05500428, %eax
    movl %eax, %dr7
    xorl %eax, %eax
    movl %eax, SCRATCH
    nop
    done

// Ports.
    .irp de, 0, 1
    .irp instruction, "outb %al, $0x80", "outb %al, $0x81", "outw %ax, $0x7F"
    check "port \instruction de \de"
    .if \de
    set_cr4 CR4_DE
    .endif
    .if \de
    breakpoint 2, 0, 0x80
    .endif
    \instruction
    nop
    done
    .endr
    .endr

    check "port read"
    set_cr4 CR4_DE
    breakpoint 2, 0, COM1+3
    movw $COM1 + 3, %dx
    inb %dx, %al                // the line control register holds 3
    nop
    done

// The registers.
    .irp register, 0, 1, 2, 3, 4, 5, 6, 7
    .irp de, 0, 1
    check "read dr\register de \de"
    .if \de
    set_cr4 CR4_DE
    .endif
    .byte 0x0F, 0x21, 0xC1 | \register << 3
    done
    check "general detect dr\register de \de"
    .if \de
    set_cr4 CR4_DE
    .endif
    movl $0x2400, %eax
    movl %eax, %dr7
    .byte 0x0F, 0x21, 0xC1 | \register << 3
    done
    .endr
    check "ring 3 read dr\register"
    ring 3
    .byte 0x0F, 0x21, 0xC1 | \register << 3
    done
    .endr
    check "general detect is cleared"
    idt_offset 1, 1f
    movl $0x2400, %eax
    movl %eax, %dr7
    movl %dr0, %ecx
    nop
1:  movl %dr7, %ecx
    done
    .irp value, 0, 0xFFFFFFFF, 0x00005555
    check "dr6 of \value"
    movl $\value, %eax
    movl %eax, %dr6
    movl %dr6, %ecx
    done
    check "dr7 of \value without what is enabled"
    movl $\value & 0xFFFFDF00, %eax
    movl %eax, %dr7
    movl %dr7, %ecx
    done
    .endr
