// What checks are written with.

// A check by its name; `done` ends it. Label 9 is taken.
    .macro check name:vararg
    movl $9f, resume
    call begin
    .asciz \name
    .endm

// A check in real mode by its name, in 16-bit code.
    .macro check_16 name:vararg
    movl $9f, resume
    call begin_16
    .asciz \name
    .code16
    .endm

// The check ran to its end, in whatever ring and mode.
    .macro done
    int $FINISHED
    .code32
9:
    .endm

// Sets an 8-byte entry of the GDT by its selector.
    .macro gdt_entry selector, high, low
    movl $\low, GDT + (\selector & ~7)
    movl $\high, GDT + (\selector & ~7) + 4
    .endm

// Sets an 8-byte entry of the LDT by its selector.
    .macro ldt_entry selector, high, low
    movl $\low, LDT + (\selector & ~7)
    movl $\high, LDT + (\selector & ~7) + 4
    .endm

// A descriptor: base, limit (20 bits), access byte (P DPL S type), flags (G D L AVL).
    .macro segment selector, base, limit, access, flags=0
    gdt_entry (\selector), ((((\base) & 0xFF0000) >> 16) | ((\base) & 0xFF000000) | ((\access) << 8) | ((\flags) << 20) | ((\limit) & 0xF0000)), ((((\base) & 0xFFFF) << 16) | ((\limit) & 0xFFFF))
    .endm

// A call gate or task gate in the GDT: target, access byte, parameter count.
    .macro gate selector, target, offset, access, count=0
    movl $\offset, %eax
    movw %ax, GDT + (\selector & ~7)
    movw $\target, GDT + (\selector & ~7) + 2
    movb $\count, GDT + (\selector & ~7) + 4
    movb $\access, GDT + (\selector & ~7) + 5
    shrl $16, %eax
    movw %ax, GDT + (\selector & ~7) + 6
    xorl %eax, %eax
    .endm

// The selector and access byte of an entry of the IDT; its offset stays.
    .macro idt_gate vector, target, access
    movw $\target, IDT + \vector * 8 + 2
    movb $\access, IDT + \vector * 8 + 5
    .endm

// Where an entry of the IDT leads.
    .macro idt_offset vector, offset
    movl $\offset, %eax
    movw %ax, IDT + \vector * 8
    shrl $16, %eax
    movw %ax, IDT + \vector * 8 + 6
    xorl %eax, %eax
    .endm

// Where to read the eight bytes that are printed as `mem`; up to four places.
    .macro watch first, second=0, third=0, fourth=0
    movl $\first, watched
    movl $\second, watched + 4
    movl $\third, watched + 8
    movl $\fourth, watched + 12
    .endm

// Goes on in another ring, on that ring's stack and data, with these flags beside the fixed one.
// Label 8 is taken.
    .macro ring level, eflags=0
    pushl $DATA\level
    .if \level == 3
    pushl $RING3_TOP
    .elseif \level == 2
    pushl $INNER2_TOP
    .else
    pushl $INNER1_TOP
    .endif
    pushl $(\eflags) | 2
    pushl $CODE\level
    pushl $8f
    iretl
8:  movl $DATA\level, %eax
    movl %eax, %ds
    movl %eax, %es
    movl $0, %eax
    .endm

// Sets flags, all of them.
    .macro eflags value
    pushl $(\value) | 2
    popfl
    .endm

    .macro set_cr4 bits
    movl $\bits, %eax
    movl %eax, %cr4
    xorl %eax, %eax
    .endm

    .macro add_cr0 bits
    movl %cr0, %eax
    orl $\bits, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    .endm

    .macro write_msr number, high, low
    movl $\number, %ecx
    movl $\low, %eax
    movl $\high, %edx
    wrmsr
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    .endm

// Goes on in virtual-8086 mode, in 16-bit code, with these flags beside VM. DS and ES are
// SCRATCH, the stack ends at RING3_TOP, FS and GS count up.
    .macro v86 eflags=0
    pushl $0x6666
    pushl $0x5555
    pushl $SCRATCH >> 4
    pushl $SCRATCH >> 4
    pushl $(RING3_TOP - 0x1000) >> 4
    pushl $0x1000
    pushl $(\eflags) | VM | 2
    movl $8f, %eax
    shrl $4, %eax
    pushl %eax
    movl $8f, %eax
    andl $15, %eax
    pushl %eax
    movl $0, %eax
    iretl
    .code16
8:
    .endm

