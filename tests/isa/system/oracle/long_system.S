// What else 64-bit mode does its own way: system registers, segment registers and their bases,
// tables, LTR and LLDT, addresses that are not canonical, limits of compatibility mode, entering and
// leaving long mode, XSETBV, debug registers, instructions that are gone (Intel SDM volume 1, section
// 3.3.7; volume 3, sections 2.4, 2.5, 2.6, 5.2, 7.7, 9.8.5 and 17.2).

// Entering and leaving.
    check "PG with LME without PAE"
    write_msr EFER, 0, EFER_LME
    movl $TABLES, %eax
    movl %eax, %cr3
    add_cr0 CR0_PG
    done
    check "PG with LME in 64-bit code"
    segment CODE0, 0, 0xFFFFF, 0x9A, 0xE
    ljmp $CODE0, $1f
1:  call long_tables
    set_cr4 CR4_PAE
    write_msr EFER, 0, EFER_LME
    movl $TABLES, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    done
    check "PG with LME and a 16-bit TSS"
    movw $TASK16, %ax
    ltr %ax
    call long_tables
    set_cr4 CR4_PAE
    write_msr EFER, 0, EFER_LME
    movl $TABLES, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    movl %cr0, %ecx
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    done
    check "LMA is not writable"
    write_msr EFER, 0, 0x400
    movl $EFER, %ecx
    rdmsr
    done
    check "LME without PG is not long mode"
    write_msr EFER, 0, EFER_LME
    movl $EFER, %ecx
    rdmsr
    done
    check_64 "efer in long mode"
    movl $EFER, %ecx
    rdmsr
    done
    .irp value, 0x0, 0x400, 0x401, 0x500, 0x900, 0xD01, 0x100, 0x2000100, 0x8100
    check_64 "efer of \value"
    movl $EFER, %ecx
    movl $\value, %eax
    wrmsr
    rdmsr
    done
    .endr
    check_64 "cr4 without PAE"
    movl $0, %eax
    movq %rax, %cr4
    done
    check_64 "cr0 without PG in 64-bit mode"
    movq %cr0, %rax
    btrq $31, %rax
    movq %rax, %cr0
    done
    check_64 "leaving long mode"
    compatibility 0
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl $EFER, %ecx
    rdmsr
    movl %eax, %ebx
    movl $0, %eax
    wrmsr
    movl %eax, %cr4
    movl $stubs + 16 * FINISHED, %eax
    movw %ax, SCRATCH + 8 * FINISHED
    movl $0x8E000000 | CODE0, SCRATCH + 8 * FINISHED + 2
    shrl $16, %eax
    movw %ax, SCRATCH + 8 * FINISHED + 6
    lidt 1f
    jmp 2f
1:  .word 8 * FINISHED + 7
    .long SCRATCH
2:  done
    check_64 "leaving long mode with PCIDE"
    movl $CR4_PAE+CR4_PCIDE, %eax
    movq %rax, %cr4
    compatibility 0
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    done

// Control, debug and machine status registers.
    check_64 "mov from cr0, cr3 and cr4"
    movq $-1, %rbx
    movq $-1, %rcx
    movq %cr3, %rbx
    movq %cr4, %rcx
    movq %cr0, %rdx
    done
    check_64 "the upper half of cr2"
    set_64 %rax, 0x123456789ABCDEF0
    movq %rax, %cr2
    movq %cr2, %rcx
    done
    .irp instruction, "smsw %bx", "smsw %ebx", "smsw %rbx", "sldt %bx", "sldt %ebx", "sldt %rbx", ".byte 0x48, 0x0F, 0x00, 0xC3", "str %bx", "str %ebx", "str %rbx", ".byte 0x48, 0x0F, 0x00, 0xCB", "movw %ds, %bx", "movl %ds, %ebx", "movq %ds, %rbx", "lsl %ecx, %ebx", "lar %ecx, %ebx"
    check_64 "the upper half after \instruction"
    movl $DATA0, %ecx
    movq $-1, %rbx
    \instruction
    done
    .endr
    check_64 "lmsw"
    movl $CR0_TS, %eax
    lmsw %ax
    movq %cr0, %rbx
    done
    .irp value, 0, 5, 15, 16, 0x100
    check_64 "cr8 of \value"
    movl $\value, %eax
    movq %rax, %cr8
    movq $-1, %rbx
    movq %cr8, %rbx
    xorl %eax, %eax
    movq %rax, %cr8
    done
    .endr
    check_64 "cr8 by lock mov cr0"
    movl $3, %eax
    .byte 0xF0, 0x44, 0x0F, 0x22, 0xC0
    movq %cr8, %rbx
    xorl %eax, %eax
    movq %rax, %cr8
    done
    .irp register, 1, 5, 7, 9, 15
    check_64 "mov from cr\register"
    movq %cr\register, %rax
    done
    check_64 "ring 3 mov to cr\register"
    ring3_64
    movq %rax, %cr\register
    done
    .endr
    .irp register, 0, 2, 3, 4, 8
    check_64 "ring 3 mov from cr\register"
    ring3_64
    movq %cr\register, %rax
    done
    .endr
    .irp register, 0, 3, 6, 7
    check_64 "dr\register with high bits"
    set_64 %rax, 0x123456789
    movq %rax, %dr\register
    movq %dr\register, %rcx
    done
    .endr
    check_64 "dr0 not canonical"
    set_64 %rax, HOLE
    movq %rax, %dr0
    movq %dr0, %rcx
    done
    check_64 "dr8"
    .byte 0x44, 0x0F, 0x23, 0xC0
    done

// Breakpoints.
    .irp len, 0, 1, 2, 3
    .irp offset, -8, -1, 0, 4, 7, 8
    check_64 "data breakpoint of length \len and a byte at \offset"
    set_64 %rbx, (LOW+0x200)
    movq %rbx, %dr0
    movl $0x402 | 1 << 16 | \len << 18, %eax
    movq %rax, %dr7
    movb %al, \offset(%rbx)
    nop
    done
    .endr
    .endr
    .irp instruction, "movq %rax, (%rbx)", "movq (%rbx), %rax", "movups %xmm0, -8(%rbx)", "pushq (%rbx)", "incl -2(%rbx)", "movq %rax, -8(%rbx)"
    check_64 "data breakpoint of 8 bytes on \instruction"
    movl $CR4_PAE+CR4_OSFXSR, %eax
    movq %rax, %cr4
    set_64 %rbx, (LOW+0x200)
    movq %rbx, %dr0
    movl $0x402 | 3 << 16 | 2 << 18, %eax
    movq %rax, %dr7
    \instruction
    nop
    done
    .endr
    check_64 "breakpoint on an instruction in the upper half"
    movb $0x90, PAGE
    movb $0x90, PAGE + 1
    set_64 %rbx, (HIGH+1)
    movq %rbx, %dr0
    movl $0x402, %eax
    movq %rax, %dr7
    decq %rbx
    jmp *%rbx
    done
    check_64 "breakpoint on an instruction 4 GiB higher"
    set_64 %rbx, (1f+0x100000000)
    movq %rbx, %dr0
    movl $0x402, %eax
    movq %rax, %dr7
1:  nop
    done

// Segment registers.
    .irp register, ds, es, fs, gs, ss
    .irp selector, 0, 1, 3, 0x10, 0x43, 0x98, 0x48, 0x100
    check_64 "mov \selector to \register"
    movl $\selector, %ecx
    movl %ecx, %\register
    done
    check_64 "ring 3 mov \selector to \register"
    ring3_64
    movl $\selector, %ecx
    movl %ecx, %\register
    done
    .endr
    .endr
    .irp register, fs, gs
    check_64 "a base of 32 bits in \register"
    segment SPARE, 0x89ABCDEF, 0xFFFFF, 0x92, 0xC
    movl $SPARE, %ecx
    movl %ecx, %\register
    done
    check_64 "a base of 64 bits in \register, then a selector"
    .ifc \register, fs
    write_msr FS_BASE, 0x1234, 0x56789ABC
    .else
    write_msr GS_BASE, 0x1234, 0x56789ABC
    .endif
    movl $DATA0, %ecx
    movl %ecx, %\register
    done
    check_64 "push and pop \register"
    pushq $DATA0
    popq %\register
    pushq %\register
    done
    .endr
    check_64 "an access through fs"
    write_msr FS_BASE, (LOW>>32), 0
    movl %fs:0, %ecx
    movb $1, %fs:0x100
    done
    check_64 "an access through gs that wraps"
    write_msr GS_BASE, 0xFFFFFFFF, 0xFFFFF000
    movl $PAGE + 0x1000, %edx
    movl %gs:(%rdx), %ecx
    done
    check_64 "limits do not count in 64-bit mode"
    segment SPARE, 0x1000, 0xF, 0x90
    movl $SPARE, %ecx
    movl %ecx, %ds
    movl PAGE, %ebx
    movb $1, PAGE + 0x100
    done
    check_64 "limits do not count in 64-bit mode through fs"
    segment SPARE, 0x1000, 0xF, 0x90
    movl $SPARE, %ecx
    movl %ecx, %fs
    movl %fs:(PAGE-0x1000), %ebx
    movb $1, %fs:(PAGE-0xF00)
    done
    check_64 "limits count in compatibility mode"
    segment SPARE, 0x1000, 0xF, 0x92, 0x4
    compatibility 0
    movl $SPARE, %ecx
    movl %ecx, %ds
    movl 0xC, %ebx
    movl 0xD, %ebx
    done
    check_64 "an access through null in compatibility mode"
    compatibility 3
    xorl %eax, %eax
    movl %eax, %ds
    movl 0, %ebx
    done
    check_64 "null in ss in compatibility mode"
    compatibility 0
    xorl %eax, %eax
    movl %eax, %ss
    done
    check_64 "an address beyond 4 GiB in compatibility mode"
    segment SPARE, 0xFFFFF000, 0xFFFFF, 0x92, 0xC
    compatibility 0
    movl $SPARE, %ecx
    movl %ecx, %ds
    movl %cs:PAGE, %edx
    movl PAGE + 0x1000, %ebx
    done
    check_64 "the base of fs in compatibility mode"
    write_msr FS_BASE, 0x1234, PAGE
    compatibility 0
    movl %fs:0, %ebx
    done
    check_64 "code beyond its limit in compatibility mode"
    segment CODE0, 0, 0xFFF, 0x9A, 0x4
    segment CODE0, 0, 0xFF, 0x9A, 0xC
    movl $0x90909090, 0xFFFFC
    pushq $CODE0
    pushq $0xFFFFC
    lretq
    done
    check_64 "addresses of 32 bits"
    set_64 %rbx, 0x1200000000
    movl PAGE(%ebx), %ecx
    done

// SWAPGS and the instructions for bases.
    .irp instruction, "swapgs", "rdfsbase %rbx", "rdfsbase %ebx", "rdgsbase %rbx", "wrfsbase %rbx", "wrfsbase %ebx", "wrgsbase %rbx", "wrgsbase %ebx"
    .irp fsgsbase, 0, CR4_FSGSBASE
    check_64 "\instruction \fsgsbase"
    write_msr KERNEL_GS_BASE, 0x1111, 0x22222222
    write_msr FS_BASE, 0x3333, 0x44444444
    write_msr GS_BASE, 0x5555, 0x66666666
    movl $CR4_PAE+\fsgsbase, %eax
    movq %rax, %cr4
    set_64 %rbx, 0x777788888888
    \instruction
    done
    check_64 "ring 3 \instruction \fsgsbase"
    movl $CR4_PAE+\fsgsbase, %eax
    movq %rax, %cr4
    ring3_64
    set_64 %rbx, 0x777788888888
    \instruction
    done
    .endr
    .endr
    .irp bytes, "0x0F,0x01,0xF8", "0xF3,0x0F,0xAE,0xC3", "0xF3,0x0F,0xAE,0xD3"
    check_64 "bytes \bytes in compatibility mode"
    movl $CR4_PAE+CR4_FSGSBASE, %eax
    movq %rax, %cr4
    compatibility 0
    .byte \bytes
    done
    .endr

// Addresses that are not canonical.
    .irp instruction, "movq (%rbx), %rcx", "movq %rcx, (%rbx)", "incl (%rbx)", "lock incl (%rbx)", "movups (%rbx), %xmm0", "movq (%rbp), %rcx", "movq %rcx, (%rbp)", "movq %ss:(%rbx), %rcx", "movq %ds:(%rbp), %rcx", "movq %fs:(%rbp), %rcx", "movq %fs:(%rbx), %rcx", "lodsb", "stosb", "clflush (%rbx)", "prefetchnta (%rbx)", "invlpg (%rbx)", "fldl (%rbx)", "fldl (%rbp)", "fxsave (%rbx)", "sgdt (%rbx)", "lgdt (%rbx)", "wrfsbase %rbx", "wrgsbase %rbp", "cmpxchg16b (%rbx)", "pushq (%rbx)", "popq (%rbx)", "pushq (%rbp)", "leaq (%rbx), %rcx", "xlat", "enter $16, $1", "movq -4(%rdx), %rcx", "btl %ecx, (%rbx)", "callq *(%rbx)", "callq *(%rbp)", "ljmpl *(%rbx)", "invpcid (%rdi), %rcx"
    check_64 "\instruction not canonical"
    movl $CR4_PAE+CR4_OSFXSR+CR4_FSGSBASE, %eax
    movq %rax, %cr4
    xorl %eax, %eax
    set_64 %rbx, HOLE
    movq %rbx, %rdx
    movq %rbx, %rbp
    movq %rbx, %rsi
    movq %rbx, %rdi
    \instruction
    done
    .endr
    .irp instruction, "pushq %rcx", "popq %rcx", "callq 1f", "ret", "pushfq", "popfq", "enter $16, $0", "leave", "lretq", "iretq", "int $0x31"
    check_64 "\instruction with rsp not canonical"
    idt_gate_64 12, CODE0_64, 0x8E, 1
    set_64 %rsp, HOLE+0x100
    movq %rsp, %rbp
    \instruction
1:  movl $RING0_TOP, %esp
    done
    .endr
    check_64 "push across the hole"
    idt_gate_64 12, CODE0_64, 0x8E, 1
    set_64 %rsp, HOLE+4
    pushq %rcx
    done
    check_64 "read across into the hole"
    set_64 %rbx, (HOLE-4)
    movq (%rbx), %rcx
    done
    check_64 "read across out of the hole"
    set_64 %rbx, (HIGH-4)
    movq (%rbx), %rcx
    done

// Tables.
    .irp instruction, lgdt, lidt
    .irp base, HOLE, HIGH, 0xFFFF7FFFFFFFFFFF
    check_64 "\instruction of base \base"
    movw $0xFFF, SCRATCH + 0x100
    set_64 %rax, \base
    movq %rax, SCRATCH + 0x102
    xorl %eax, %eax
    .ifc \instruction, lgdt
    lgdt SCRATCH + 0x100
    sgdt SCRATCH
    .else
    lidt SCRATCH + 0x100
    sidt SCRATCH
    .endif
    movq SCRATCH, %rbx
    movq SCRATCH + 8, %rcx
    lidt idtr_64
    lgdt gdtr_64
    done
    .endr
    .endr
    check_64 "sgdt and sidt store ten bytes"
    movq $-1, SCRATCH + 8
    movq $-1, SCRATCH + 24
    sgdt SCRATCH
    sidt SCRATCH + 16
    watch SCRATCH, SCRATCH+8, SCRATCH+16, SCRATCH+24
    done
    check_64 "lgdt in compatibility mode takes six bytes"
    movl $GDT << 16 | GDT_LIMIT, SCRATCH
    movl $0xFFFF0000 | GDT >> 16, SCRATCH + 4
    compatibility 0
    lgdt SCRATCH
    sgdt SCRATCH + 16
    watch SCRATCH+16
    done
    .irp access, 0x89, 0x8B, 0x81, 0x82, 0x09, 0xE9, 0x99
    check_64 "ltr of access \access"
    gdt_entry SPARE, (\access<<8), (TSS<<16|0x67)
    movl $SPARE, %ecx
    watch GDT+SPARE, GDT+SPARE+8
    ltr %cx
    done
    check_64 "lldt of access \access"
    gdt_entry SPARE, (\access<<8), (LDT<<16|0x3F)
    movl $SPARE, %ecx
    watch GDT+SPARE, GDT+SPARE+8
    lldt %cx
    movl $4, %edx
    movl %edx, %fs
    done
    .endr
    .irp instruction, ltr, lldt
    .irp selector, 0, 3, 0x100, 0x48, 0x08, 0x98, SPARE+4, GDT_LIMIT-7
    check_64 "\instruction of selector \selector"
    gdt_entry SPARE, 0x8900, (TSS<<16|0x67)
    gdt_entry (GDT_LIMIT-7), 0x8900, (TSS<<16|0x67)
    .ifc \instruction, lldt
    gdt_entry (GDT_LIMIT-7), 0x8200, (LDT<<16|0x3F)
    .endif
    movl $\selector, %ecx
    \instruction %cx
    sldt %ebx
    done
    .endr
    .irp high, 0xFFFF8000, 0x00008000, 0x0001
    check_64 "\instruction with \high as the upper half of its base"
    .ifc \instruction, ltr
    gdt_entry SPARE, 0x8900, (TSS<<16|0x67)
    .else
    gdt_entry SPARE, 0x8200, (LDT<<16|0x3F)
    .endif
    movl $\high, GDT + SPARE + 8
    movl $SPARE, %ecx
    \instruction %cx
    sldt %ebx
    done
    .endr
    .irp type, 0x0100, 0x1F00, 0x2000, 0xFFFF00FF
    check_64 "\instruction with \type behind its base"
    .ifc \instruction, ltr
    gdt_entry SPARE, 0x8900, (TSS<<16|0x67)
    .else
    gdt_entry SPARE, 0x8200, (LDT<<16|0x3F)
    .endif
    movl $\type, GDT + SPARE + 12
    movl $SPARE, %ecx
    \instruction %cx
    sldt %ebx
    done
    .endr
    .endr
    .irp access, 0x80,0x81,0x82,0x83,0x84,0x85,0x86,0x87,0x88,0x89,0x8A,0x8B,0x8C,0x8D,0x8E,0x8F,0x92,0x9A,0x9E
    check_64 "lar and lsl of access \access"
    gdt_entry SPARE, (0xA0<<16|\access<<8), 0x1234FFFF
    movl $SPARE, %ecx
    movl $-1, %ebx
    movl $-1, %edx
    lar %ecx, %ebx
    lsl %ecx, %edx
    done
    .endr
    .irp instruction, lar, lsl
    check_64 "\instruction of a system descriptor with a type behind its base"
    gdt_entry SPARE, 0x8900, (TSS<<16|0x67)
    movl $0x0100, GDT + SPARE + 12
    movl $SPARE, %ecx
    \instruction %ecx, %ebx
    done
    check_64 "\instruction of a system descriptor at the end of the table"
    gdt_entry (GDT_LIMIT-7), 0x8900, (TSS<<16|0x67)
    movl $GDT_LIMIT-7, %ecx
    \instruction %ecx, %ebx
    done
    .endr

// XSETBV.
    .irp value, 0, 1, 2, 3, 5, 6, 7, 0xB, 0x80000003
    check_64 "xsetbv of \value"
    movl $CR4_PAE+CR4_OSFXSR+0x40000, %eax
    movq %rax, %cr4
    movl $\value, %eax
    xsetbv
    xorl %eax, %eax
    xgetbv
    movl %eax, %ebx
    movl $1, %eax
    xorl %edx, %edx
    xsetbv
    done
    .endr
    check_64 "xsetbv without OSXSAVE"
    movl $3, %eax
    xsetbv
    done
    check_64 "xgetbv without OSXSAVE"
    xgetbv
    done
    .irp instruction, xsetbv, xgetbv
    check_64 "\instruction of register 2"
    movl $CR4_PAE+CR4_OSFXSR+0x40000, %eax
    movq %rax, %cr4
    movl $3, %eax
    movl $2, %ecx
    \instruction
    done
    check_64 "ring 3 \instruction"
    movl $CR4_PAE+CR4_OSFXSR+0x40000, %eax
    movq %rax, %cr4
    ring3_64
    movl $3, %eax
    \instruction
    done
    .endr
    check_64 "xsetbv with high bits"
    movl $CR4_PAE+CR4_OSFXSR+0x40000, %eax
    movq %rax, %cr4
    movl $3, %eax
    movl $1, %edx
    xsetbv
    done

// What 64-bit mode does not have, and what it has.
    .irp bytes, "0x06","0x07","0x0E","0x16","0x17","0x1E","0x1F","0x27","0x2F","0x37","0x3F","0x60","0x61","0x82,0xC0,0","0x9A,0,0,0,0,8,0","0xCE","0xD4,10","0xD5,10","0xD6","0xEA,0,0,0,0,8,0","0xC4,0x03","0xC5,0x03"
    check_64 "bytes \bytes"
    .byte \bytes
    nop
    nop
    nop
    done
    .endr
    .irp instruction, "lahf", "sahf", "pushfq", "movslq %ecx, %rdx", "xchgl %eax, %eax", "rex64 nop", "cmpxchg16b SCRATCH", "rdtscp", "syscall"
    check_64 "\instruction"
    movq $-1, %rcx
    movb $0xD5, %ah
    \instruction
    xorl %eax, %eax
    xorl %edx, %edx
    xorl %ecx, %ecx
    done
    .endr
    .irp instruction, hlt, cli, sti, clts, invd, wbinvd, rdmsr, wrmsr, "lgdt gdtr_64", "lidt idtr_64", "ltr %cx", "lldt %cx", "lmsw %cx", "invlpg (%rcx)", "inb $0x70, %al", "outb %al, $0x70", swapgs, "movq %dr0, %rax", "iretq", "rdpmc"
    check_64 "ring 3 privileged \instruction"
    ring3_64
    \instruction
    done
    .endr
    .irp instruction, "sgdt SCRATCH", "sidt SCRATCH", "sldt %eax", "str %eax", "smsw %eax", "sldt SCRATCH"
    check_64 "ring 3 \instruction with UMIP"
    movl $CR4_PAE+CR4_UMIP, %eax
    movq %rax, %cr4
    ring3_64
    \instruction
    done
    .endr
