// Paging in 32 bits and with PAE: rights of both levels, WP, SMEP, SMAP, NX, reserved bits; error
// codes, CR2, accessed and dirty bits (Intel SDM volume 3, sections 4.3, 4.4, 4.6 to 4.8). Whether an
// upper entry counts as accessed by a walk that ends in a fault is left open there.

    .set LINEAR, 0x800000       // leads to PAGE by tables of its own
    .set FINISH, 0x60CD         // the bytes of int $FINISHED

    jmp paging_checks

// Clears the tables and has PAGE begin with `int $FINISHED`.
clear_tables:
    movl $TABLES, %edi
    movl $0x4000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movw $FINISH, PAGE
    ret

// 32-bit paging: the first 4 MiB onto themselves with the bits in EBP, LINEAR by PTE 0 at +2000.
tables_32:
    call clear_tables
    leal TABLES + 0x1000(%ebp), %eax
    movl %eax, TABLES
    movl $TABLES + 0x1000, %edi
    movl %ebp, %eax
    movl $1024, %ecx
1:  stosl
    addl $0x1000, %eax
    loop 1b
    xorl %eax, %eax
    xorl %edi, %edi
    xorl %ebp, %ebp
    ret

// PAE paging: the first 4 MiB by large pages with the bits in EBP.
tables_pae:
    call clear_tables
    movl $TABLES + 0x1001, TABLES
    movl %ebp, TABLES + 0x1000
    leal 0x200000(%ebp), %eax
    movl %eax, TABLES + 0x1008
    xorl %eax, %eax
    xorl %edi, %edi
    xorl %ebp, %ebp
    ret

    .macro paging_32 bits, pde, pte
    movl $\bits, %ebp
    call tables_32
    movl $TABLES + 0x2000 + \pde, TABLES + 8
    movl $PAGE + \pte, TABLES + 0x2000
    watch TABLES+0x2000
    movl $TABLES, %eax
    movl %eax, %cr3
    .endm

    .macro paging_pae bits, high, low
    movl $\bits, %ebp
    call tables_pae
    movl $TABLES + 0x2007, TABLES + 0x1020
    movl $PAGE + \low, TABLES + 0x2000
    movl $\high, TABLES + 0x2004
    watch TABLES+0x2000
    movl $TABLES, %eax
    movl %eax, %cr3
    .endm

    .macro access how
    .ifc \how, read
    movl LINEAR, %ecx
    .endif
    .ifc \how, write
    movb %al, LINEAR + 0x100
    .endif
    .ifc \how, execute
    movl $LINEAR, %eax
    call *%eax
    .endif
    .ifc \how, change
    incl LINEAR + 0x100
    .endif
    .ifc \how, cross
    movl %eax, LINEAR - 2
    .endif
    .endm

paging_checks:
    .irp how, read, write, execute, change, cross
    .irp level, 0, 3
    .irp wp, 0, CR0_WP
    .irp bits, 0, 1, 3, 5, 7
    check "\how in ring \level \wp pte \bits"
    paging_32 7, 7, \bits
    add_cr0 CR0_PG+\wp
    .if \level
    ring 3
    .endif
    access \how
    done
    check "\how in ring \level \wp pde \bits"
    paging_32 7, \bits, 7
    add_cr0 CR0_PG+\wp
    .if \level
    ring 3
    .endif
    access \how
    done
    .endr
    .endr
    .endr
    .endr

// Large pages.
    .irp pde, 0x000087, 0x200087, 0x000083, 0x000085, 0x0000C7
    .irp level, 0, 3
    check "4 MiB page \pde in ring \level"
    paging_32 7, 7, 7
    movl $\pde, TABLES + 8
    set_cr4 CR4_PSE
    add_cr0 CR0_PG+CR0_WP
    .if \level
    ring 3
    .endif
    movl LINEAR + PAGE, %ecx
    movb %al, LINEAR + PAGE + 0x100
    done
    .endr
    .endr

// SMEP and SMAP, with the rest in supervisor pages.
    .irp cr4, 0, CR4_SMEP, CR4_SMAP, CR4_SMEP+CR4_SMAP
    .irp how, read, write, execute, change
    .irp ac, 0, AC
    .irp bits, 3, 7
    check "\how with \cr4 \ac pte \bits"
    paging_32 3, 7, \bits
    set_cr4 \cr4
    add_cr0 CR0_PG+CR0_WP
    eflags \ac
    access \how
    done
    .endr
    .endr
    .endr
    .endr
    .irp close, "clac", "pushl $2; popfl", "pushl $2; pushl $CODE0; pushl $1f; iretl; 1:"
    check "after stac and \close"
    paging_32 3, 7, 7
    set_cr4 CR4_SMAP
    add_cr0 CR0_PG
    stac
    movl LINEAR, %ecx
    \close
    movl LINEAR + 4, %ecx
    done
    .endr
    .irp instruction, clac, stac
    check "ring 3 \instruction"
    ring 3
    \instruction
    done
    check "\instruction"
    \instruction
    pushfl
    popl %ecx
    done
    .endr
    check "a descriptor in a user page under SMAP"
    paging_32 3, 7, 7
    movl $0x0000FFFF, PAGE + 0x100
    movl $0x00CF9300, PAGE + 0x104
    segment LOCAL, LINEAR+0x100, 7, 0x82
    movw $LOCAL, %ax
    lldt %ax
    set_cr4 CR4_SMAP
    add_cr0 CR0_PG
    movl $4, %eax
    movl %eax, %fs
    done

// PAE: NX and reserved bits.
    .irp nxe, 0, 0x800
    .irp high, 0, 0x80000000, 0x00080000, 0x40000000, 0x00100000
    .irp how, read, execute
    .irp level, 0, 3
    check "pae \how in ring \level nxe \nxe high \high"
    paging_pae 0x87, \high, 7
    write_msr EFER, 0, \nxe
    set_cr4 CR4_PAE
    add_cr0 CR0_PG
    .if \level
    ring 3
    .endif
    access \how
    done
    .endr
    .endr
    .endr
    .endr
    .irp how, read, write, execute
    .irp level, 0, 3
    .irp bits, 0, 1, 3, 5
    check "pae \how in ring \level pte \bits"
    paging_pae 0x87, 0, \bits
    set_cr4 CR4_PAE
    add_cr0 CR0_PG+CR0_WP
    .if \level
    ring 3
    .endif
    access \how
    done
    .endr
    .endr
    .endr
    .irp how, read, execute
    check "pae \how with SMEP, nxe and a user page"
    paging_pae 0x83, 0, 7
    write_msr EFER, 0, 0x800
    set_cr4 CR4_PAE+CR4_SMEP
    add_cr0 CR0_PG
    access \how
    done
    .endr
    .irp how, read, write, execute
    check "accessed and dirty after \how"
    paging_32 7, 7, 7
    watch TABLES+8, TABLES+0x2000
    add_cr0 CR0_PG
    access \how
    done
    .endr
    check "invlpg makes a new pte count"
    paging_32 7, 7, 0
    add_cr0 CR0_PG
    movl $PAGE + 7, TABLES + 0x2000
    invlpg LINEAR
    movl LINEAR, %ecx
    done
    check "a page fault on the way to a page fault is a double fault"
    paging_32 7, 7, 0
    add_cr0 CR0_PG
    movw $0x7F, SCRATCH
    movl $LINEAR, SCRATCH + 2
    movl $stubs + 8 * 16, %eax
    movw %ax, IDT + 64
    movl LINEAR, %ecx
    done
    check "a stack of the TSS that is not mapped"
    paging_32 7, 7, 0
    movl $LINEAR + 0x1000, TSS + 12
    idt_gate 6, CODE1, 0x8E
    add_cr0 CR0_PG
    ring 3
    ud2
    done
