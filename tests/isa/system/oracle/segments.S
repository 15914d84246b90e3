// Loads of segment registers: every descriptor type into DS and SS, present or not, by every
// privilege; null selectors; the accessed bit (Intel SDM volume 3, sections 5.4, 5.6, 5.7).

    .macro load register, selector
    movl $\selector, %ebx
    movl %ebx, %\register
    .endm

// Every type, present and at ring 0.
    .irp type, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,18,19,20,24,26,28,30
    .irp register, ds, ss
    check "mov \register type \type"
    segment SPARE, 0, 0xFFFFF, (0x80 | \type), 0xC
    watch GDT + SPARE
    load \register, SPARE
    done
    .endr
    .endr

    check "mov ds type 22"
    segment SPARE, 0, 0xFFFFF, 0x96, 0xC
    watch GDT + SPARE
    load ds, SPARE
    done

// Not present.
    .irp register, ds, es, fs, gs, ss
    .irp access, 0x12, 0x1A
    check "mov \register not present \access"
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    watch GDT + SPARE
    load \register, SPARE
    done
    .endr
    .endr

// RPL and DPL from ring 0.
    .irp register, fs, ss
    .irp dpl, 0,1,2,3
    .irp rpl, 0,1,2,3
    check "mov \register dpl \dpl rpl \rpl"
    segment SPARE, 0, 0xFFFFF, (0x92 | \dpl << 5), 0xC
    load \register, (SPARE | \rpl)
    done
    .endr
    .endr
    .endr

// RPL and DPL from ring 3: data, readable code, conforming code.
    .irp access, 0x92, 0xB2, 0xF2, 0x9A, 0xFA, 0x9E, 0xFE, 0x9C
    .irp rpl, 0, 3
    check "ring 3 mov ds access \access rpl \rpl"
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    ring 3
    load ds, (SPARE | \rpl)
    done
    check "ring 3 mov ss access \access rpl \rpl"
    segment SPARE, 0, 0xFFFFF, \access, 0xC
    ring 3
    load ss, (SPARE | \rpl)
    done
    .endr
    .endr

// Null selectors, and selectors beyond the limits.
    .irp selector, 0, 1, 2, 3, 4, 0x14, 0x3C, 0x44, 0x100, 0xFFF8
    .irp register, ds, gs, ss
    check "mov \register selector \selector"
    load \register, \selector
    done
    .endr
    .endr

    check "null ds loaded and used"
    load ds, 3
    movl %ds:SCRATCH, %ecx
    done
    check "null ds read through es"
    load ds, 0
    movl %es:SCRATCH, %ecx
    done
    check "null fs written"
    movl %ecx, %fs:SCRATCH
    done
    check "mov cs"
    movl $CODE0, %eax
    .byte 0x8E, 0xC8
    done
    check "pop ds"
    pushl $DATA3
    popl %ds
    done
    check "pop ds of a code segment not readable"
    segment SPARE, 0, 0xFFFFF, 0x98, 0xC
    pushl $SPARE
    popl %ds
    done
    check "pop fs 16 bits wide"
    pushw $DATA3
    popw %fs
    done
    check "push fs 32 bits wide over ones"
    movl $DATA3, %eax
    movl %eax, %fs
    pushl $-1
    popl %ecx
    pushl %fs
    popl %ecx
    done
    check "pop ss of ring 3 from ring 0"
    pushl $DATA3
    popl %ss
    done

// Pointers.
    .irp register, ds, es, fs, gs, ss
    check "l\register of a bad selector leaves both registers"
    movl $0x11223344, SCRATCH
    movw $CODE3, SCRATCH + 4
    movl $0x55667788, %ebx
    l\register SCRATCH, %ebx
    done
    check "l\register"
    movl $0x11223344, SCRATCH
    movw $DATA0, SCRATCH + 4
    l\register SCRATCH, %ebx
    done
    .endr

// LLDT, LTR and what they leave.
    .irp access, 0x82, 0x02, 0x89, 0x8B, 0x81, 0x83, 0x92, 0xE2, 0xE9, 0x09
    check "lldt access \access"
    segment SPARE, LDT, LDT_LIMIT, \access
    watch GDT + SPARE
    movw $SPARE, %ax
    lldt %ax
    sldt %ecx
    done
    check "ltr access \access"
    segment SPARE, TSS, 0x67, \access
    watch GDT + SPARE
    movw $SPARE, %ax
    ltr %ax
    str %ecx
    done
    .endr
    .irp selector, 0, 3, 4, 0x0C, 0x100
    check "lldt selector \selector"
    movw $\selector, %ax
    lldt %ax
    sldt %ecx
    done
    check "ltr selector \selector"
    movw $\selector, %ax
    ltr %ax
    str %ecx
    done
    .endr
    check "ldt selector after lldt 0"
    xorl %eax, %eax
    lldt %ax
    load ds, 4
    done
    .irp instruction, "lldt %ax", "ltr %ax", "lgdt SCRATCH", "lidt SCRATCH", "lmsw %ax", "clts", "hlt", "invd", "wbinvd", "invlpg SCRATCH", "movl %cr0, %eax", "movl %eax, %cr0", "movl %cr2, %eax", "movl %cr3, %eax", "movl %cr4, %eax", "movl %dr0, %eax", "movl %eax, %dr7", "rdmsr", "wrmsr", "rdpmc", "sysexit", "cli", "sti"
    check "ring 3 \instruction"
    ring 3
    \instruction
    done
    .endr
    .irp instruction, "sldt %ecx", "str %ecx", "smsw %cx", "sgdt SCRATCH", "sidt SCRATCH"
    check "ring 3 \instruction"
    watch SCRATCH
    ring 3
    \instruction
    done
    check "ring 3 \instruction under UMIP"
    watch SCRATCH
    set_cr4 CR4_UMIP
    ring 3
    \instruction
    done
    .endr
