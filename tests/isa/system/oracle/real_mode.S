// Real mode: interrupts through the interrupt vector table, limits of 64 KiB, limits that protected
// mode left, instructions that are not recognized there, flags, single steps, the way into protected
// mode, A20 (Intel SDM volume 3, chapter 20).

    .set APIC, 0xFEE00000
    .set VECTOR, 0x70

    jmp real_checks

// Has the local APIC send itself an interrupt, or an NMI, from real mode with FS of 4 GiB.
    .macro send_itself command
    movl $APIC, %edi
    movl $0, %fs:0xB0(%edi)     // the end of the last one
    movl $0x1FF, %fs:0xF0(%edi)
    movl $\command, %fs:0x300(%edi)
    .endm

// Limits and bases that protected mode leaves: `segment` gets the descriptor SPARE.
    .macro from_protected register, base, limit, access, flags
    movl $((\base) << 16) | ((\limit) & 0xFFFF), %cs:unreal_entry - start
    movl $((\flags) << 20) | ((\limit) & 0xF0000) | ((\access) << 8) | (((\base) >> 16) & 0xFF), %cs:unreal_entry + 4 - start
    cli
    lgdtl %cs:unreal_gdtr - start
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 7f
7:  movw $8, %bx
    movw %bx, %\register
    andb $0xFE, %al
    movl %eax, %cr0
    xorl %eax, %eax
    xorl %ebx, %ebx
    .endm

    .balign 8
unreal_gdt: .quad 0
unreal_entry: .quad 0
unreal_gdtr:
    .word 15
    .long unreal_gdt

real_checks:
// Instructions that raise, and what INT does.
    .irp instruction, "int $0x31", "int3", "int $3", ".byte 0xF1", "ud2", "divb %bl", "divw %bx", "divl %ebx", "idivb %bl", "aam $0", "int $13"
    check_16 "\instruction"
    movw $0x1234, %cx
    \instruction
    done
    .endr
    check_16 "into with OF"
    movb $0x7F, %al
    incb %al
    into
    done
    check_16 "bound below"
    movw $5, 0
    movw $9, 2
    boundw %ax, 0
    done
    .irp flags, 0, 0x46D7, 0x7000, 0x3000, 0x4000, 0xFED7
    check_16 "int with flags \flags"
    pushw $(\flags & ~0x100)
    popfw
    int $0x31
    done
    check_16 "popfw of \flags"
    pushw $(\flags & ~0x100)
    popfw
    pushfw
    popw %cx
    done
    check_16 "iretw with flags \flags"
    pushw $(\flags & ~0x100)
    pushw %cs
    pushw $1f - start
    iretw
1:  pushfl
    popl %ecx
    done
    .endr
    .irp flags, 0, 0x10000, 0x20000, 0x40000, 0x200000, 0x180000
    check_16 "popfl of \flags"
    pushl $\flags + 2
    popfl
    pushfl
    popl %ecx
    done
    check_16 "iretl with flags \flags"
    pushl $\flags + 2
    pushl $CODE_SEGMENT
    pushl $1f - start
    iretl
1:  pushfl
    popl %ecx
    done
    .endr
    check_16 "AC is clear in a handler"
    pushl $0x40202
    popfl
    int $0x31
    done
    check_16 "a handler elsewhere"
    movw $0, %ax
    movw %ax, %es
    movw $0x60CD, %es:CODE_BYTES
    movl $(CODE_BYTES >> 4) << 16, %es:0x31 * 4
    int $0x31
    done
    check_16 "iretw to ip beyond 64 KiB by 32 bits"
    pushl $2
    pushl $CODE_SEGMENT
    pushl $0x10000
    iretl
    done
    check_16 "iret that wraps the stack pointer"
    movw $0xFFFE, %sp
    movw $0x7000, %ax
    movw %ax, %ss
    movw $1f - start, %ss:0xFFFE
    movw %cs, %ss:0
    movw $2, %ss:2
    iretw
1:  movw %sp, %cx
    movw $0x1000, %sp
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    done

// The interrupt vector table's limit.
    .irp limit, 0x3FF, 0xC7, 0xC6, 0xC4, 0xC3
    check_16 "int 31h with a table of limit \limit"
    movw $\limit, 0
    movl $0, 2
    lidtl 0
    int $0x31
    done
    .endr
    check_16 "int with a table without #GP"
    movw $0x33, 0
    movl $0, 2
    lidtl 0
    int $0x31
    done
    check_16 "int with a table without #DF"
    movw $0x1F, 0
    movl $0, 2
    lidtl 0
    int $0x31
    done
    check_16 "a table elsewhere"
    movw $0x3FF, 0
    movl $SCRATCH, 2
    movl $CODE_SEGMENT << 16 | (1f - start), 0x31 * 4
    movl $CODE_SEGMENT << 16 | (2f - start), 0x60 * 4
    lidtl 0
    int $0x31
    hlt
1:  lidtl %cs:ivt_register - start
2:  done

// Limits of 64 KiB.
    .irp instruction, "movw 0xFFFF, %ax", "movl 0xFFFD, %eax", "movl 0xFFFC, %eax", "movb 0xFFFF, %al", "movw %ax, 0xFFFF", "incw 0xFFFF", "movw %ss:0xFFFF, %ax", "movl %ss:0xFFFD, %eax", "movw %es:0xFFFF, %ax", "movw %cs:0xFFFF, %ax", "lodsw", "fldl 0xFFFC", "fldl %ss:0xFFFC", "lgdtl 0xFFFC", "lgdtl 0xFFFA"
    check_16 "\instruction"
    movw $0xFFFF, %si
    \instruction
    done
    .endr
    .irp instruction, "movw (%ebx), %ax", "movw %ss:(%ebx), %ax", "movw (%ebp), %ax", "jmpl *%ebx", "calll *%ebx", "movb -1(%ebx), %al"
    check_16 "\instruction beyond 64 KiB"
    movl $0x10000, %ebx
    movl %ebx, %ebp
    \instruction
    done
    .endr
    .irp instruction, "jmpl *%ebx", "calll *%ebx", "retl", "lretl"
    check_16 "\instruction far beyond 64 KiB"
    movl $0x12345678, %ebx
    pushl %ecx
    pushl %ebx
    \instruction
    done
    .endr
    check_16 "code runs over the end of its segment"
    movw $0x2000, %ax
    movw %ax, %es
    movb $0x90, %es:0xFFFF
    ljmpw $0x2000, $0xFFFF
    done
    check_16 "an instruction across the end of its segment"
    movw $0x2000, %ax
    movw %ax, %es
    movb $0xB8, %es:0xFFFF
    ljmpw $0x2000, $0xFFFF
    done
    .irp sp, 0, 1, 2, 3, 4
    check_16 "pop with sp at \sp below the end"
    movw $0x7000, %ax
    movw %ax, %ss
    movw $-\sp, %sp
    popw %cx
    movw %sp, %dx
    movw $0x1000, %sp
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    done
    check_16 "popl with sp at \sp below the end"
    movw $0x7000, %ax
    movw %ax, %ss
    movw $-\sp, %sp
    popl %ecx
    movw %sp, %dx
    movw $0x1000, %sp
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    done
    check_16 "push with sp of 2 * \sp"
    movw $2 * \sp, %sp
    movw $0x7000, %ax
    movw %ax, %ss
    pushw $0x1234
    movw %sp, %dx
    movw $0x1000, %sp
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    done
    .endr
    check_16 "push with sp of 1"
    movw $0x7000, %ax
    movw %ax, %ss
    movw $1, %sp
    pushw %ax
    done
    check_16 "int with sp of 1"
    movw $0x7000, %ax
    movw %ax, %ss
    movw $1, %sp
    int $0x31
    done
    check_16 "ud2 with sp of 5"
    movw $0x7000, %ax
    movw %ax, %ss
    movw $5, %sp
    ud2
    done

// What protected mode left.
    .irp register, ds, es, fs, gs
    check_16 "4 GiB in \register"
    from_protected \register, 0, 0xFFFFF, 0x93, 0x8
    movl $PAGE, %ebx
    movl $0x12345678, %\register:(%ebx)
    movl %\register:(%ebx), %ecx
    done
    check_16 "4 GiB in \register, then a selector"
    from_protected \register, 0, 0xFFFFF, 0x93, 0x8
    xorw %ax, %ax
    movw %ax, %\register
    movl $PAGE, %ebx
    movl $0x87654321, %\register:(%ebx)
    movl %\register:(%ebx), %ecx
    done
    check_16 "a small limit in \register"
    from_protected \register, SCRATCH, 0xF, 0x93, 0
    movb %\register:0xF, %cl
    movb %\register:0x10, %cl
    done
    check_16 "a small limit in \register, then a selector"
    from_protected \register, SCRATCH, 0xF, 0x93, 0
    movw $SCRATCH >> 4, %ax
    movw %ax, %\register
    movb %\register:0x10, %cl
    done
    check_16 "a base in \register"
    from_protected \register, PAGE, 0xFFFF, 0x93, 0
    movl $PAGE, %ebx
    movw $0x1234, %\register:0x10
    movw %\register:0x10, %cx
    done
    .endr
    check_16 "a stack of 32 bits"
    from_protected ss, 0, 0xFFFFF, 0x93, 0xC
    movl $PAGE + 0x1000, %esp
    pushw $0x1234
    movl %esp, %ecx
    movl $0x1000, %esp
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    done

// Instructions that are not recognized.
    .irp instruction, "arpl %ax, %cx", "larw %cx, %ax", "lslw %cx, %ax", "verr %cx", "verw %cx", "lldt %cx", "ltr %cx", "sldt %ax", "str %ax", "arpl %ax, 0", "str 0", "sysenter", "sysexit"
    check_16 "\instruction is not there"
    \instruction
    done
    .endr
    .irp instruction, "smsw %ax", "smsw %eax", "clts", "movl %cr0, %ebx", "movl %cr4, %ebx", "movl %dr7, %ebx", "sgdtl 0", "sidtl 0", "sidtw 0", "cli", "sti", "wbinvd", "lahf", "sysretl", "movl %cr1, %eax"
    check_16 "\instruction is there"
    \instruction
1:  done
    .endr
    .irp prefix, "lock", "lock lock"
    check_16 "\prefix nop"
    .byte 0xF0
    nop
    done
    .endr
    check_16 "an instruction of 15 bytes"
    .rept 14
    .byte 0x2E
    .endr
    nop
    done
    check_16 "an instruction of 16 bytes"
    .rept 15
    .byte 0x2E
    .endr
    nop
    done
    check_16 "mov to cs"
    .byte 0x8E, 0xC8
    done
    check_16 "wrmsr of a register that is not there"
    movl $0x12345678, %ecx
    wrmsr
    done

// The way into protected mode and out of it.
    check_16 "lmsw sets PE"
    lgdtl %cs:gdtr - start
    movw $1, %ax
    lmsw %ax
    movl %cr0, %ebx
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    xorl %eax, %eax
    done
    check_16 "lmsw does not clear PE"
    movw $1, %ax
    lmsw %ax
    movw $0, %ax
    lmsw %ax
    movl %cr0, %ebx
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    xorl %eax, %eax
    done
    .irp value, 0x2, 0x4, 0x8, 0xFFF0
    check_16 "lmsw of \value"
    movw $\value, %ax
    lmsw %ax
    movl %cr0, %ebx
    done
    .endr
    check_16 "PG without PE"
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    done

// Single steps, breakpoints, shadows.
    .irp instruction, "nop", "pushfw", "int $0x31", "movw %ax, %ds", "divb %bl", "popfw", "movl %cr0, %ecx"
    check_16 "step \instruction"
    movw $SCRATCH >> 4, %ax
    xorw %bx, %bx
    pushw $2
    pushw $0x102
    popfw
    \instruction
    nop
    done
    .endr
    check_16 "step over mov ss"
    movw %ss, %cx
    pushw $0x102
    popfw
    movw %cx, %ss
    nop
    nop
    done
    check_16 "step from iret"
    pushw $0x102
    pushw %cs
    pushw $1f - start
    iretw
1:  nop
    nop
    done
    check_16 "step over a repeated instruction"
    movw $3, %cx
    movw $0x100, %di
    pushw $0x102
    popfw
    rep stosb
    nop
    done
    check_16 "breakpoint on data"
    movl $SCRATCH + 0x10, %eax
    movl %eax, %dr0
    movl $0x402 | 0xD << 16, %eax
    movl %eax, %dr7
    movw %ax, 0x12
    nop
    done
    .irp instruction, "sti; nop; nop", "sti; cli; nop", "sti; movw %cx, %ss; nop; nop", "pushw $0x202; popfw; nop; nop", "movw %cx, %ss; sti; nop; nop"
    check_16 "an interrupt pending and \instruction"
    from_protected fs, 0, 0xFFFFF, 0x93, 0x8
    send_itself 0x40000|VECTOR
1:  testl $1 << (VECTOR % 32), %fs:(0x200 + VECTOR / 32 * 16)(%edi)
    jz 1b
    movw %ss, %cx
    \instruction
    done
    .endr

// A20.
    check_16 "A20 masked and open"
    movw $0xFFFF, %ax
    movw %ax, %es
    movw $0, %ax
    movw %ax, %ds
    movw $0x1111, 0x500
    movw $0x2222, %es:0x510
    inb $0x92, %al
    andb $0xFD, %al
    outb %al, $0x92
    movw %es:0x510, %bx
    orb $2, %al
    outb %al, $0x92
    movw %es:0x510, %cx
    xorl %eax, %eax
    done
