// Long mode: 4 KiB pages for the first 16 MiB (ring 3 may use them), an IDT of `unexpected`, a TSS,
// SYSCALL, x87 and SSE on.

    .code16
enter_mode:
    lgdtl gdtr
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $KERNEL_CODE32, $in_protected_mode

    .code32
in_protected_mode:
    movl $KERNEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss

    movl $IDT, %edi              // IDT, TSS and page tables start as zeros
    movl $(PAGE_TABLES + 0x10000 - IDT) / 4, %ecx
    xorl %eax, %eax
    rep stosl

    movl $PAGE_TABLES + 0x3000, %edi
    movl $7, %eax
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x1000, %eax
    cmpl $MAPPED_BYTES, %eax
    jb 1b
    movl $PAGE_TABLES + 0x2000, %edi
    movl $PAGE_TABLES + 0x3007, %eax
1:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x1000, %eax
    cmpl $PAGE_TABLES + 0x3007 + MAPPED_BYTES / 0x200, %eax
    jb 1b
    movl $PAGE_TABLES + 0x1007, PAGE_TABLES
    movl $PAGE_TABLES + 0x2007, PAGE_TABLES + 0x1000

    movl $PAGE_TABLES, %eax
    movl %eax, %cr3
    movl $0x620, %eax            // CR4.PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xC0000080, %ecx       // EFER.LME, SCE
    rdmsr
    orl $0x101, %eax
    wrmsr
    movl %cr0, %eax
    andl $~0x0C, %eax            // not EM, not TS
    orl $0x80000022, %eax        // PG, NE, MP
    movl %eax, %cr0
    ljmpl $KERNEL_CODE64, $in_long_mode

    .code64
in_long_mode:
    movl $STACK_TOP, %esp
    fninit
    movq $RING0_STACK_TOP, TSS + 4
    movw $0x68, TSS + 0x66
    movw $TSS_SELECTOR, %ax
    ltr %ax
    lidt idtr
    xorl %edi, %edi
1:  movl $unexpected, %esi
    call set_gate
    incl %edi
    cmpl $256, %edi
    jb 1b
    jmp passes

// Vector EDI goes to ESI, by an interrupt gate that ring 3 may call.
set_gate:
    movl %edi, %edx
    shll $4, %edx
    movl %esi, %eax
    andl $0xFFFF, %eax
    orl $KERNEL_CODE64 << 16, %eax
    movl %eax, IDT(%rdx)
    movl %esi, %eax
    andl $0xFFFF0000, %eax
    orl $0xEE00, %eax
    movl %eax, IDT + 4(%rdx)
    movq $0, IDT + 8(%rdx)
    ret

#include "tables.S"
