// NULL selectors in FS, GS, DS and ES in long mode: what a load of one leaves of the base, by MOV, POP,
// LFS and LGS; what a return to an outer ring leaves, which makes them NULL itself; accesses through
// them in 64-bit and in compatibility mode (AMD64 APM volume 2, sections 4.5.1 and 4.5.3; Intel SDM
// volume 2, MOV and IRET; volume 3, section 3.4.4).

    jmp null_checks
    .balign 8
null_pointer: .quad 0, 0

// Bases of 64 bits, which lead to PAGE in the lower half of the addresses.
    .macro bases
    write_msr FS_BASE, (LOW>>32), 0
    write_msr GS_BASE, (LOW>>32), 0x100
    .endm

null_checks:
    .irp register, fs, gs
    .irp level, 0, 3
    .irp selector, 0, 1, 2, 3
    .irp form, register, memory, pop, "pop of 16 bits", "far pointer", "far pointer of 16 bits", "far pointer of 64 bits"
    check_64 "null \selector to \register by \form in ring \level"
    bases
    movl $0x11111111, null_pointer
    movl $0x22220000 | \selector, null_pointer + 4
    movl $\selector, null_pointer + 8
    .ifc "\form", "far pointer of 16 bits"
    movw $\selector, null_pointer + 2
    .endif
    .if \level
    ring3_64
    .endif
    .ifc "\form", "register"
    movl $\selector, %eax
    movl %eax, %\register
    .endif
    .ifc "\form", "memory"
    movw null_pointer + 8, %\register
    .endif
    .ifc "\form", "pop"
    pushq $\selector
    popq %\register
    .endif
    .ifc "\form", "pop of 16 bits"
    pushw $\selector
    popw %\register
    .endif
    .ifc "\form", "far pointer"
    l\register null_pointer, %eax
    .endif
    .ifc "\form", "far pointer of 16 bits"
    l\register null_pointer, %ax
    .endif
    .ifc "\form", "far pointer of 64 bits"
    rex64 l\register null_pointer, %eax
    .endif
    .ifc "\form", "register"
    movl $0, %eax
    .endif
    done
    .endr
    .endr
    .endr
    check_64 "null to \register over a descriptor's base"
    segment SPARE, 0x89ABCDEF, 0xFFFFF, 0x92, 0xC
    movl $SPARE, %ecx
    movl %ecx, %\register
    xorl %ecx, %ecx
    movl %ecx, %\register
    done
    check_64 "null to \register, then an access"
    bases
    movl $0x12345678, PAGE + 0x40
    xorl %ecx, %ecx
    movl %ecx, %\register
    movl $PAGE + 0x40, %ebx
    movl %\register:(%rbx), %ecx
    done
    check_64 "a base for \register with a null selector, then an access"
    bases
    movl $0x12345678, PAGE + 0x40
    movl $0x23456789, PAGE + 0x140
    movl %\register:0x40, %ecx
    done
    check_64 "a base for \register with a null selector, then an access in compatibility mode"
    bases
    compatibility 0
    movl %\register:0x40, %ecx
    done
    check_64 "null to \register in compatibility mode"
    bases
    compatibility 0
    xorl %eax, %eax
    movl %eax, %\register
    done
    check_64 "data to \register in compatibility mode"
    bases
    compatibility 0
    movl $DATA0, %eax
    movl %eax, %\register
    xorl %eax, %eax
    done
    check_64 "an access through \register in compatibility mode after null in 64-bit mode"
    movl $DATA0, %ecx
    movl %ecx, %\register
    xorl %ecx, %ecx
    movl %ecx, %\register
    compatibility 0
    movl %\register:PAGE, %ecx
    done
    .endr

// Returns to an outer ring.
    .irp selector, 0, 1, 3, DATA0, DATA0|3, DATA3, CODE0, CODE3, 0x0C, 0x17
    .irp how, iretq, lretq, sysretq, "iretq to compatibility mode", "lretq in ring 0"
    check_64 "\how with \selector in the segment registers"
    write_msr EFER, 0, (EFER_LME+EFER_SCE)
    write_msr STAR, (CODE2<<16|CODE0), 0
    movl $\selector, %ecx
    .irp register, ds, es, fs, gs
    movl %ecx, %\register
    .endr
    bases
    .ifc "\how", "iretq"
    ring3_64
    .endif
    .ifc "\how", "iretq to compatibility mode"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $2
    pushq $CODE3
    pushq $8f
    iretq
    .code32
8:
    .endif
    .ifc "\how", "lretq"
    pushq $DATA3
    pushq $RING3_TOP
    pushq $CODE3_64
    pushq $8f
    lretq
8:
    .endif
    .ifc "\how", "lretq in ring 0"
    pushq $CODE0_64
    pushq $8f
    lretq
8:
    .endif
    .ifc "\how", "sysretq"
    movl $8f, %ecx
    movl $2, %r11d
    sysretq
8:
    .endif
    movl $0, %ecx
    done
    .endr
    .endr
    check_64 "an access through a conforming segment in ring 3"
    segment SPARE, PAGE, 0xFFFFF, 0x9E, 0xC
    movl $0x12345678, PAGE
    movl $SPARE, %ecx
    movl %ecx, %fs
    compatibility 3
    movl %fs:0, %ecx
    done
    check_64 "an access through data of ring 0 in ring 3"
    movl $DATA0, %ecx
    movl %ecx, %fs
    compatibility 3
    movl %fs:PAGE, %ecx
    done
