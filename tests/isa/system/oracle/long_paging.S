// 4-level paging: rights, NX, reserved bits and large pages at every level, WP, SMEP, SMAP, global
// pages, process-context identifiers; error codes, CR2, accessed and dirty bits (Intel SDM volume
// 3, sections 4.5 to 4.10). Whether an upper entry counts as accessed by a walk that ends in a fault
// is left open there, so where one does only the last entry is shown.

    .macro access_64 how
    .ifc \how, read
    movl (%rbx), %ecx
    .endif
    .ifc \how, write
    movb %al, 0x100(%rbx)
    .endif
    .ifc \how, execute
    call *%rbx
    .endif
    .ifc \how, change
    incl 0x100(%rbx)
    .endif
    .ifc \how, cross
    movl $0, PT + 8
    movl %eax, 0xFFE(%rbx)
    .endif
    .endm

// In ring `level`, LOW in RBX.
    .macro ring_64 level
    .if \level
    ring3_64
    .endif
    set_64 %rbx, LOW
    .endm

// The rest in pages of the supervisor.
    .macro supervisor_rest
    movb $0x83, TABLES + 0x2000
    movb $0x83, TABLES + 0x2008
    movq %cr3, %rax
    movq %rax, %cr3
    xorl %eax, %eax
    .endm

    .irp how, read, write, execute, change
    .irp level, 0, 3
    .irp wp, 0, CR0_WP
    .irp entry, PML4+8, PDPT, PD, PT
    .irp bits, 0, 1, 3, 5
    .if \wp != 0 || (\level == 0 && \bits == 5)
    check_64 "\how in ring \level \wp \entry \bits"
    movb $\bits, \entry
    add_cr0_64 \wp
    watch PT
    ring_64 \level
    access_64 \how
    done
    .endif
    .endr
    .endr
    .endr
    .endr
    .endr

// NX, reserved bits, bits that software may use.
    .irp nxe, 0, 0x800
    .irp entry, PML4+8, PDPT, PD, PT
    .irp how, read, execute
    .irp level, 0, 3
    check_64 "\how in ring \level nxe \nxe with NX in \entry"
    write_msr EFER, 0, (EFER_LME+\nxe)
    movl $0x80000000, \entry + 4
    watch PT
    ring_64 \level
    access_64 \how
    done
    .endr
    .endr
    .endr
    .endr
    .irp entry, PML4+8, PDPT, PD, PT
    .irp high, 0x00080000, 0x00040000, 0x7FF00000
    .irp how, read, write, execute
    check_64 "\how with \high in the upper half of \entry"
    write_msr EFER, 0, (EFER_LME+EFER_NXE)
    movl $\high, \entry + 4
    ring_64 3
    access_64 \how
    done
    .endr
    .endr
    .irp bits, 0x0E00, 0x0100, 0x0040, 0x0018
    check_64 "read with \bits in \entry"
    orl $\bits, \entry
    watch PML4+8, PDPT, PD, PT
    ring_64 0
    access_64 read
    done
    .endr
    check_64 "not present with all other bits in \entry"
    movl $0xFFFFFFFE, \entry
    movl $0xFFFFFFFF, \entry + 4
    ring_64 3
    access_64 write
    done
    .endr

// Large pages. LOW + PAGE leads to PAGE by them.
    .macro large_page entry, value, level, how
    movl $\value, \entry
    movl $0, \entry + 4
    watch PML4+8, PDPT, PD, PT
    .if \level
    ring3_64
    .endif
    set_64 %rbx, (LOW+PAGE)
    access_64 \how
    .endm
    .irp how, read, write, execute
    .irp level, 0, 3
    .irp bits, 0x87, 0x83, 0x85, 0x1087, 0x187, 0xC7, 0x97
    check_64 "\how in ring \level 1 GiB page \bits"
    add_cr0_64 CR0_WP
    large_page PDPT, \bits, \level, \how
    done
    check_64 "\how in ring \level 2 MiB page \bits"
    add_cr0_64 CR0_WP
    movl $PAGE + \bits, %ecx
    movl %ecx, PD + 8
    xorl %ecx, %ecx
    watch PML4+8, PDPT, PD+8
    .if \level
    ring3_64
    .endif
    set_64 %rbx, (LOW+PAGE)
    access_64 \how
    done
    .endr
    .endr
    .endr
    .irp value, 0x2087, 0x20000087
    check_64 "1 GiB page \value"
    large_page PDPT, \value, 0, read
    done
    .endr
    .irp value, 0x2087, 0x100087, 0x4087, 0x201087
    check_64 "2 MiB page \value"
    movl $\value, PD + 8
    set_64 %rbx, (LOW+PAGE)
    access_64 read
    done
    .endr
    check_64 "PS in the top level"
    movb $0x87, PML4 + 8
    ring_64 0
    access_64 read
    done
    check_64 "PS in the last level is the PAT bit"
    movb $0x87, PT
    ring_64 0
    access_64 read
    done

// SMEP and SMAP, with the rest in supervisor pages.
    .irp cr4, CR4_SMEP, CR4_SMAP, CR4_SMEP+CR4_SMAP
    .irp how, read, write, execute, change
    .irp ac, 0, AC
    .irp entry, PML4+8, PT, 0
    check_64 "\how with \cr4 \ac supervisor by \entry"
    supervisor_rest
    .if \entry
    movb $3, \entry
    .endif
    movq $CR4_PAE + \cr4, %rax
    movq %rax, %cr4
    pushq $2 + \ac
    popfq
    ring_64 0
    access_64 \how
    done
    .endr
    .endr
    .endr
    .endr
    .irp ac, 0, AC
    check_64 "a descriptor in a user page under SMAP \ac"
    movl $0x0000FFFF, PAGE + 0x100
    movl $0x00CFF300, PAGE + 0x104
    segment SPARE, 0x100, 0xFF, 0x82
    movl $LOW >> 32, GDT + SPARE + 8
    movw $SPARE, %ax
    lldt %ax
    supervisor_rest
    set_cr4_64 CR4_PAE+CR4_SMAP
    pushq $2 + \ac
    popfq
    movl $7, %eax
    movl %eax, %fs
    done
    .endr

// What the CPU reads and writes itself is supervisor access in every ring.
    .irp bits, 0, 1, 3, 7
    check_64 "ring 3 loads a descriptor from a page \bits"
    add_cr0_64 CR0_WP
    movl $0x0000FFFF, PAGE + 0x100
    movl $0x00CFF200, PAGE + 0x104
    segment SPARE, 0x100, 0xFF, 0x82
    movl $LOW >> 32, GDT + SPARE + 8
    movw $SPARE, %ax
    lldt %ax
    xorl %eax, %eax
    movb $\bits, PT
    watch PAGE+0x100, PT
    ring3_64
    movl $0x107, %eax
    movl $7, %eax
    movl %eax, %fs
    done
    .endr
    .irp bits, 0, 1, 3
    check_64 "an interrupt stack in a page \bits"
    set_64 %rax, (LOW+0x800)
    movq %rax, TSS + 36
    xorl %eax, %eax
    add_cr0_64 CR0_WP
    movb $\bits, PT
    idt_gate_64 6, CODE0_64, 0x8E, 1
    ring3_64
    ud2
    done
    check_64 "RSP0 in a page \bits"
    set_64 %rax, (LOW+0x800)
    movq %rax, TSS + 4
    xorl %eax, %eax
    add_cr0_64 CR0_WP
    movb $\bits, PT
    idt_gate_64 14, CODE0_64, 0x8E, 1
    idt_gate_64 8, CODE0_64, 0x8E, 1
    ring3_64
    ud2
    done
    .endr
    check_64 "an interrupt table across into a page not present"
    movl $IDT, %esi             // vectors from 32 on lie in the next page
    movl $PAGE + 0xE00, %edi
    movl $0x200 / 4, %ecx
    rep movsl
    lidt 1f
    int $0x31
    jmp 2f
    .balign 8
1:  .word 16 * 0x80 - 1
    .quad LOW + 0xE00
2:  done

// Edges of pages.
    .irp level, 0, 3
    check_64 "write across to a page not present in ring \level"
    watch PAGE+0xFF8
    ring_64 \level
    access_64 cross
    done
    check_64 "read across from a page not present in ring \level"
    movl $0, PT
    movl $PAGE + 7, PT + 8
    ring_64 \level
    movq 0xFFC(%rbx), %rcx
    done
    check_64 "an instruction across to a page not present in ring \level"
    movl $0, PT + 8
    movb $0x48, PAGE + 0xFFE
    movb $0xB8, PAGE + 0xFFF
    ring_64 \level
    addq $0xFFE, %rbx
    jmp *%rbx
    done
    .endr
    check_64 "push to a page not present"
    movb $0, PT
    ring_64 0
    leaq 0x100(%rbx), %rsp
    idt_gate_64 14, CODE0_64, 0x8E, 1
    pushq $1
    done
    check_64 "read at the top of the address space"
    movl $0, PT + 0xFF8
    movq $-8, %rbx
    movq (%rbx), %rcx
    done
    check_64 "read across the top of the address space"
    movq $-4, %rbx
    movl $0x87, TABLES + 0x2000
    movq (%rbx), %rcx
    done

// Translations that are no longer so.
    .macro replace_page
    movl $0x11111111, PAGE + 0x10
    movl $0x22222222, PAGE + 0x1010
    ring_64 0
    movl 0x10(%rbx), %ecx
    movl $PAGE + 0x1107, PT
    .endm
    .irp global, 0x000, 0x100
    .irp pge, 0, CR4_PGE
    check_64 "invlpg, page \global \pge"
    movl $CR4_PAE + \pge, %eax
    movq %rax, %cr4
    xorl %eax, %eax
    movl $PAGE + 7 + \global, PT
    replace_page
    invlpg (%rbx)
    movl 0x10(%rbx), %edx
    done
    check_64 "CR4.PGE switched, page \global \pge"
    movl $CR4_PAE + \pge, %eax
    movq %rax, %cr4
    movl $PAGE + 7 + \global, PT
    replace_page
    xorl $CR4_PGE, %eax
    movq %rax, %cr4
    xorl %eax, %eax
    movl 0x10(%rbx), %edx
    done
    .endr
    .endr
    check_64 "cr3 loaded, page not global"
    movl $CR4_PAE + CR4_PGE, %eax
    movq %rax, %cr4
    replace_page
    movq %cr3, %rax
    movq %rax, %cr3
    movl 0x10(%rbx), %edx
    done
    check_64 "invlpg of a large page by any address in it"
    movl $PAGE + 0x87, PD
    movl $0x11111111, PAGE + 0x10
    ring_64 0
    movl 0x10(%rbx), %ecx
    movl $0x87, PD
    leaq 0x123456(%rbx), %rdx
    invlpg (%rdx)
    movl $0x33333333, 0x3010
    movl 0x3010(%rbx), %edx
    done
    check_64 "a change of rights behind the walk"
    add_cr0_64 CR0_WP
    ring_64 0
    movb %al, 0x100(%rbx)
    movb $5, PT
    invlpg (%rbx)
    movb %al, 0x100(%rbx)
    done
    check_64 "WP set while a page is in use"
    movb $5, PT
    ring_64 0
    movb %al, 0x100(%rbx)
    add_cr0_64 CR0_WP
    movb %al, 0x100(%rbx)
    done

// CR3 and process-context identifiers.
    .irp low, 0xFFF, 0x018, 0x001
    check_64 "cr3 with \low in the low bits"
    movl $TABLES + \low, %eax
    movq %rax, %cr3
    movq %cr3, %rcx
    done
    check_64 "PCIDE set with \low in CR3"
    movl $TABLES + \low, %eax
    movq %rax, %cr3
    movl $CR4_PAE + CR4_PCIDE, %eax
    movq %rax, %cr4
    movq %cr4, %rcx
    done
    check_64 "PCIDE set, then \low in CR3, then clear"
    movl $CR4_PAE + CR4_PCIDE, %eax
    movq %rax, %cr4
    movl $TABLES + \low, %eax
    movq %rax, %cr3
    movl $CR4_PAE, %eax
    movq %rax, %cr4
    movq %cr3, %rcx
    done
    .endr
    check_64 "another process-context identifier"
    movl $CR4_PAE + CR4_PCIDE, %eax
    movq %rax, %cr4
    replace_page
    movl $TABLES + 5, %eax
    movq %rax, %cr3
    movl 0x10(%rbx), %edx
    done
