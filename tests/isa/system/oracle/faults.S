// Double and triple faults of every pair of classes, NMI, PDPTEs of PAE paging, RF and the order of
// debug exceptions around repeated instructions (Intel SDM volume 3, sections 4.4.1, 6.7, 6.15 and
// 17.3.1.1).

    .set LINEAR, 0x800000

    jmp fault_checks

// The first 4 MiB onto themselves; LINEAR is not mapped.
map_low:
    movl $TABLES, %edi
    movl $0x2000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $0x87, TABLES
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $CR4_PSE, %eax
    movl %eax, %cr4
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edi, %edi
    ret

// PAE paging by large pages: 4 MiB onto themselves in the first GiB, PAGE alone in the fourth.
map_pae:
    movl $TABLES, %edi
    movl $0x3000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $TABLES + 0x1001, TABLES
    movl $TABLES + 0x2001, TABLES + 0x18
    movl $0x83, TABLES + 0x1000
    movl $0x200083, TABLES + 0x1008
    movl $0x200083, TABLES + 0x2000
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edi, %edi
    ret

// Makes the gate of a vector raise an exception of its own.
    .macro bad_gate vector, second
    .ifc \second, gp
    idt_gate \vector, DATA0, 0x8E
    .endif
    .ifc \second, np
    idt_gate \vector, CODE0, 0x0E
    .endif
    .ifc \second, ts
    idt_gate \vector, CODE1, 0x8E
    movl $0, TSS + 16
    .endif
    .ifc \second, ss
    idt_gate \vector, CODE1, 0x8E
    segment SPARE, 0, 0xFFFFF, 0x32, 0xC
    movl $SPARE + 1, TSS + 16
    .endif
    .ifc \second, pf
    idt_gate \vector, CODE1, 0x8E
    movl $LINEAR, TSS + 12
    .endif
    .endm

    .macro raise first
    .ifc \first, de
    divb %bl
    .endif
    .ifc \first, ud
    ud2
    .endif
    .ifc \first, bp
    int3
    .endif
    .ifc \first, nm
    fnop
    .endif
    .ifc \first, ts
    iretl
    .endif
    .ifc \first, np
    movl $SPARE2, %eax
    movl %eax, %fs
    .endif
    .ifc \first, ss
    pushl %ss:(%esi)
    .endif
    .ifc \first, gp
    movl $0x100, %eax
    movl %eax, %ds
    .endif
    .ifc \first, pf
    movl LINEAR, %eax
    .endif
    .ifc \first, db
    .byte 0xF1
    .endif
    .endm

    .macro pair first, vector, second
    check "#\second on the way to #\first"
    call map_low
    gdt_entry SPARE2, 0x00CF7200, 0x0000FFFF
    .ifc \first, nm
    add_cr0 CR0_TS
    .endif
    bad_gate \vector, \second
    .ifc \first, bp
    movb $0xEE, IDT + 8 * 3 + 5
    .ifc \second, np
    movb $0x6E, IDT + 8 * 3 + 5
    .endif
    .endif
    ring 3
    raise \first
    done
    .endm

fault_checks:
    .set SPARE2, SPARE + 8
    .irp second, gp, np, ts, ss, pf
    pair de, 0, \second
    pair db, 1, \second
    pair bp, 3, \second
    pair ud, 6, \second
    pair nm, 7, \second
    pair np, 11, \second
    pair gp, 13, \second
    pair pf, 14, \second
    .endr

// Triple faults.
    .irp second, gp, np, ts, ss, pf
    check "#\second on the way to #DF"
    call map_low
    bad_gate 0, gp
    bad_gate 8, \second
    ring 3
    divb %bl
    done
    .endr
    check "no table"
    lidt zero_table
    int $0x31
    done
    check "no table, #UD"
    lidt zero_table
    ud2
    done
    check "a table beyond what is mapped"
    call map_low
    lidt far_table
    ud2
    done
    check "a table that ends before #DF"
    lidt short_table
    divb %bl
    done
    check "a table that ends before #GP"
    lidt half_table
    movl $0x100, %eax
    movl %eax, %ds
    done
    check "no stack"
    segment SPARE, 0, 0, 0x92, 0x4
    movl $SPARE, %eax
    movl %eax, %ss
    movl $0x100, %esp
    ud2
    done
    check "after a reset everything is as it was"
    done
    jmp 1f
    .balign 8
zero_table:
    .word 0
    .long 0
far_table:
    .word 0x3FF
    .long LINEAR
short_table:
    .word 0x3F
    .long IDT
half_table:
    .word 13 * 8 - 1
    .long IDT
1:

// NMI.
    check "an NMI"
    send_nmi
    wait_nmi
    done
    check "an NMI with IF clear"
    cli
    send_nmi
    wait_nmi
    done
    check "an NMI with IF set"
    sti
    send_nmi
    wait_nmi
    done
    check "an NMI in ring 3"
    ring 3
    send_nmi
    wait_nmi
    done
    .macro second_nmi
    idt_offset 2, 2f
    send_nmi
    wait_nmi
2:  incl %ecx
    send_nmi
    no_nmi
    idt_offset 2, (stubs+16*2)
    incl %ecx
    .endm
    check "a second NMI in the handler of the first, then iret"
    second_nmi
    movl $1f, (%esp)
    iretl
1:  jmp 1b
    done
    check "a second NMI in the handler of the first, then a return by ret"
    second_nmi
    movl $1f, (%esp)
    lretl $4
1:  no_nmi
    done
    check "a second NMI in the handler of the first, then iret to ring 3"
    second_nmi
    ring 3
1:  jmp 1b
    done
    check "an NMI blocked until an iret that faults"
    idt_offset 2, 2f
    send_nmi
    wait_nmi
2:  idt_offset 2, 3f
    idt_offset 13, 4f
    send_nmi
    no_nmi
    pushl $2
    pushl $0x100
    pushl $0
    iretl
3:  incl %edx
    iretl
4:  incl %ecx
    no_nmi
    movl %edx, %ebx
    movl $5f, 4(%esp)           // behind the error code
    addl $4, %esp
    iretl
5:  no_nmi
    done
    check "an NMI through a gate that raises"
    idt_gate 2, DATA0, 0x8E
    send_nmi
    wait_nmi
    done
    check "an NMI through a gate not present"
    idt_gate 2, CODE0, 0x0E
    send_nmi
    wait_nmi
    done
    check "an NMI through a trap gate"
    idt_gate 2, CODE0, 0x8F
    sti
    send_nmi
    wait_nmi
    done

// PDPTEs.
    .irp high, 0, 1, 0x80000000, 0x100000
    .irp low, 0x001, 0x007, 0x021, 0x0E1, 0x101, 0xE19, 0xFFFFFFFE
    check "PG with a fourth PDPTE of \high \low"
    call map_pae
    movl $\low, TABLES + 0x18
    movl $\high, TABLES + 0x1C
    add_cr0 CR0_PG
    done
    .endr
    .endr
    check "mov to cr3 with a PDPTE that has reserved bits"
    call map_pae
    add_cr0 CR0_PG
    movl $7, TABLES + 0x18
    movl %cr3, %eax
    movl %eax, %cr3
    done
    check "a PDPTE changed behind CR3"
    call map_pae
    add_cr0 CR0_PG
    movl $0, TABLES + 0x18
    movl $0x12345678, PAGE
    movl 0xC0000000, %ecx
    done
    check "a PDPTE changed, and CR3 loaded"
    call map_pae
    add_cr0 CR0_PG
    movl $0, TABLES + 0x18
    movl %cr3, %eax
    movl %eax, %cr3
    movl 0xC0000000, %ecx
    done
    check "a PDPTE changed to reserved bits behind CR3"
    call map_pae
    add_cr0 CR0_PG
    movl $7, TABLES + 0x18
    movl $0x12345678, PAGE
    movl 0xC0000000, %ecx
    done
    .irp cr3, TABLES, TABLES+0x20
    check "a PDPTE changed, and a task with \cr3 in CR3"
    call map_pae
    movl $TABLES + 0x1001, TABLES + 0x20
    movl $\cr3, TSS2 + 28
    movl $1f, TSS2 + 32
    movl $2, TSS2 + 36
    movl $INNER1_TOP, TSS2 + 56
    movl $CODE0, TSS2 + 76
    movl $DATA0, TSS2 + 80
    movl $DATA0, TSS2 + 84
    add_cr0 CR0_PG
    movl $0, TABLES + 0x18
    movl $0x12345678, PAGE
    ljmp $TASK2, $0
1:  movl 0xC0000000, %ecx
    done
    .endr
    .irp bit, CR4_PGE, CR4_PSE, CR4_SMEP, CR4_DE
    check "a PDPTE changed, and \bit switched"
    call map_pae
    add_cr0 CR0_PG
    movl $0, TABLES + 0x18
    movl $0x12345678, PAGE
    movl $CR4_PAE + \bit, %eax
    movl %eax, %cr4
    movl 0xC0000000, %ecx
    done
    .endr
    .irp bits, 0x40000000, 0x60000000, CR0_WP, CR0_TS
    check "a PDPTE with reserved bits, and \bits of cr0 switched"
    call map_pae
    add_cr0 CR0_PG
    movl $7, TABLES + 0x18
    movl %cr0, %eax
    xorl $\bits, %eax
    movl %eax, %cr0
    done
    .endr
    check "PAE set while paging, with a PDPTE that has reserved bits"
    call map_low
    movl $TABLES + 0x1000, %eax
    movl $0x1E7, TABLES + 0x1000
    movl $0x87, TABLES
    movl $0x87, TABLES + 0x1000
    movl $CR4_PAE + CR4_PSE, %eax
    movl %eax, %cr4
    done
    check "the accessed bit of a PDPTE is not set"
    call map_pae
    watch TABLES, TABLES+0x18
    add_cr0 CR0_PG
    movl 0xC0000000, %ecx
    xorl %ecx, %ecx
    done

// Repeated instructions and RF.
    .irp instruction, "rep movsb", "rep stosb", "rep lodsb", "repe cmpsb", "repne scasb", "rep insb", "rep outsb"
    check "\instruction that faults in its third iteration"
    call map_low
    movl $0x400000 - 2, %esi
    movl %esi, %edi
    movl $5, %ecx
    movl $0x80, %edx
    cmpl %eax, %eax
    .ifc "\instruction", "repne scasb"
    movb $0x55, %al
    .endif
    \instruction
    done
    .endr
    check "a step over a repeated instruction, then the rest"
    idt_offset 1, 2f
    movl $SCRATCH, %edi
    movl $3, %ecx
    pushl $TF + 2
    popfl
1:  rep stosb
    nop
2:  incl %ebx
    orl 8(%esp), %edx
    cmpl $1b, (%esp)
    jne 3f
    iretl
3:  done
    check "a data breakpoint in a repeated instruction"
    movl $SCRATCH + 4, %eax
    movl %eax, %dr0
    movl $0x402 | 1 << 16, %eax
    movl %eax, %dr7
    movl $SCRATCH, %edi
    movl $9, %ecx
    rep stosb
    nop
    done
    check "a data breakpoint on the last of a repeated instruction"
    movl $SCRATCH + 4, %eax
    movl %eax, %dr0
    movl $0x402 | 1 << 16, %eax
    movl %eax, %dr7
    movl $SCRATCH, %edi
    movl $5, %ecx
    rep stosb
    nop
    done
    check "a breakpoint on a repeated instruction"
    movl $1f, %eax
    movl %eax, %dr0
    movl $0x402, %eax
    movl %eax, %dr7
    movl $SCRATCH, %edi
    movl $5, %ecx
1:  rep stosb
    nop
    done
    check "a repeated instruction that does nothing, stepped"
    xorl %ecx, %ecx
    pushl $TF + 2
    popfl
    rep stosb
    nop
    done
    check "RF over a repeated instruction with a breakpoint"
    movl $1f, %eax
    movl %eax, %dr0
    movl $0x402, %eax
    movl %eax, %dr7
    movl $SCRATCH, %edi
    movl $5, %ecx
    pushl $RF + 2
    pushl $CODE0
    pushl $1f
    iretl
1:  rep stosb
    nop
    done
