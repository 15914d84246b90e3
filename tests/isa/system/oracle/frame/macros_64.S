// What checks of 64-bit mode are written with, beside the other macros.

// A check in 64-bit mode at ring 0 by its name; `done` ends it, in whatever mode it is by then.
    .macro check_64 name:vararg
    movl $9f, resume
    call begin_64
    .asciz \name
    .code64
    .endm

// Goes on in 64-bit mode in ring 3, with these flags beside the fixed one. Label 8 is taken.
    .macro ring3_64 rflags=0
    pushq $DATA3
    pushq $RING3_TOP
    pushq $(\rflags) | 2
    pushq $CODE3_64
    pushq $8f
    iretq
8:
    .endm

// Goes on in compatibility mode, in 32-bit code of this ring, from 64-bit mode at ring 0.
    .macro compatibility level, rflags=0
    pushq $DATA\level
    .if \level == 3
    pushq $RING3_TOP
    .else
    pushq $RING0_TOP
    .endif
    pushq $(\rflags) | 2
    pushq $CODE\level
    pushq $8f
    iretq
    .code32
8:  movl $DATA\level, %eax
    movl %eax, %ds
    movl %eax, %es
    movl $0, %eax
    .endm

// An entry of the 64-bit IDT: selector, access byte, stack of the TSS.
    .macro idt_gate_64 vector, target, access, stack=0
    movw $\target, IDT + \vector * 16 + 2
    movb $\stack, IDT + \vector * 16 + 4
    movb $\access, IDT + \vector * 16 + 5
    .endm

// Where an entry of the 64-bit IDT leads.
    .macro idt_offset_64 vector, offset
    movq $\offset, %rax
    movw %ax, IDT + \vector * 16
    shrq $16, %rax
    movw %ax, IDT + \vector * 16 + 6
    shrq $16, %rax
    movl %eax, IDT + \vector * 16 + 8
    xorl %eax, %eax
    .endm

// A 16-byte call gate in the GDT: target, offset, access byte, type of the upper half.
    .macro gate_64 selector, target, offset, access, upper=0
    movq $\offset, %rax
    movw %ax, GDT + (\selector & ~7)
    movw $\target, GDT + (\selector & ~7) + 2
    movb $0, GDT + (\selector & ~7) + 4
    movb $\access, GDT + (\selector & ~7) + 5
    shrq $16, %rax
    movw %ax, GDT + (\selector & ~7) + 6
    shrq $16, %rax
    movl %eax, GDT + (\selector & ~7) + 8
    movl $\upper << 8, GDT + (\selector & ~7) + 12
    xorl %eax, %eax
    .endm

// Sets a register to 64 bits.
    .macro set_64 register, value
    movabsq $\value, \register
    .endm

    .macro set_cr4_64 bits
    movl $\bits, %eax
    movq %rax, %cr4
    xorl %eax, %eax
    .endm

    .macro add_cr0_64 bits
    movq %cr0, %rax
    orq $\bits, %rax
    movq %rax, %cr0
    xorl %eax, %eax
    .endm
