// Segment limits: the last byte, wrap-arounds, expand-down segments, 16-bit stacks
// (Intel SDM volume 3, section 5.3).

    .macro read bytes, offset
    movl $\offset, %ebx
    .if \bytes == 1
    movb %fs:(%ebx), %al
    .elseif \bytes == 2
    movw %fs:(%ebx), %ax
    .elseif \bytes == 4
    movl %fs:(%ebx), %eax
    .else
    fldl %fs:(%ebx)
    .endif
    .endm

    .macro with_fs base, limit, access, flags
    segment SPARE, \base, \limit, \access, \flags
    movl $SPARE, %eax
    movl %eax, %fs
    xorl %eax, %eax
    .endm

// Expand-up of 4096 bytes.
    .irp bytes, 1, 2, 4, 8
    .irp offset, 0xFF7, 0xFF8, 0xFFC, 0xFFD, 0xFFE, 0xFFF, 0x1000, 0xFFFFFFFF
    check "up limit FFF read \bytes at \offset"
    with_fs SCRATCH, 0xFFF, 0x92, 0x4
    read \bytes, \offset
    done
    .endr
    .endr

// Expand-down above FFF, with an upper bound of FFFF and of FFFFFFFF.
    .irp flags, 0x0, 0x4
    .irp bytes, 1, 4
    .irp offset, 0, 0xFFC, 0xFFF, 0x1000, 0x1FFF, 0xFFFC, 0xFFFD, 0xFFFF, 0x10000
    check "down flags \flags read \bytes at \offset"
    with_fs (SCRATCH-0x1000), 0xFFF, 0x96, \flags
    read \bytes, \offset
    done
    .endr
    .endr
    .endr
    check "down with limit FFFFFFFF holds nothing"
    with_fs 0, 0xFFFFF, 0x96, 0xC
    read 1, 0xFFFFFFFF
    done
    check "down from 0 holds all but byte 0"
    with_fs SCRATCH, 0, 0x96, 0x4
    read 4, 1
    done

// Wrap-arounds of a flat segment and of a base near the top.
    check "dword at FFFFFFFE of a flat segment"
    movl $0xFFFFFFFE, %ebx
    movl %ds:(%ebx), %eax
    done
    check "base FFFFF000 offset D000 wraps to C000"
    movl $0x12345678, SCRATCH
    with_fs 0xFFFFF000, 0xFFFFF, 0x92, 0xC
    read 4, 0xD000
    done

// Rights.
    .irp access, 0x90, 0x92, 0x94, 0x96, 0x9A, 0x9E
    check "write to access \access"
    with_fs SCRATCH, 0xFFF, \access, 0x4
    movl $0x1000, %ebx
    movb %al, %fs:-1(%ebx)
    done
    .endr
    check "write to cs"
    movb %al, %cs:SCRATCH
    done
    check "read cs that only executes"
    segment SPARE, 0, 0xFFFFF, 0x98, 0xC
    ljmp $SPARE, $1f
1:  movb %cs:SCRATCH, %al
    done

// The stack segment faults with #SS.
    .macro with_stack limit, access, flags, top
    segment SPARE, STACKS, \limit, (0x60 | \access), \flags
    ring 3
    movl $SPARE | 3, %eax
    movl %eax, %ss
    movl $\top, %esp
    .endm
    .irp offset, 0xFFC, 0x1000, 0xFFD
    check "ss limit FFF read at \offset"
    with_stack 0xFFF, 0x92, 4, 0x800
    movl $\offset, %ebp
    movl (%ebp), %ecx
    done
    .endr
    check "push on a 16-bit stack wraps"
    with_stack 0xFFFF, 0x92, 0, 0xAAAA0002
    pushl $0x11223344
    movl %esp, %ecx
    done
    check "pop on a 16-bit stack keeps the upper half"
    with_stack 0xFFFF, 0x92, 0, 0xAAAA0FFC
    popl %ebx
    movl %esp, %ecx
    done
    check "push below an expand-down stack"
    with_stack 0xFFB, 0x96, 4, 0x1000
    pushl $1
    pushl $2
    done
    check "enter with a frame that does not fit"
    with_stack 0xFFF, 0x96, 4, 0x2000
    enter $0x1000, $0
    done
    check "pusha that does not fit"
    with_stack 0xFEF, 0x96, 4, 0x1000
    pushal
    done
    check "jmp far to the offset behind the limit"
    segment SPARE, CODE, 0x0FF, 0x9A, 4
    ljmp $SPARE, $0x100
    done
    check "jump beyond the limit of a code segment"
    segment SPARE, CODE_BYTES, 0x0F, 0x9A, 4
    movl $0xE990, CODE_BYTES      // nop, jmp +100
    movl $0x00000100, CODE_BYTES + 2
    ljmp $SPARE, $0
    done
    check "an instruction across the limit of a code segment"
    segment SPARE, CODE_BYTES, 0x03, 0x9A, 4
    movl $0xB8, CODE_BYTES
    ljmp $SPARE, $0
    done
    check "running off the limit of a code segment"
    segment SPARE, CODE_BYTES, 0x01, 0x9A, 4
    movl $0x9090, CODE_BYTES
    ljmp $SPARE, $0
    done
    check "near ret beyond the limit"
    segment SPARE, CODE_BYTES, 0x0F, 0x9A, 4
    movl $0xC3, CODE_BYTES
    pushl $0x10
    ljmp $SPARE, $0
    done
    check "a 16-byte instruction"
    movl $0x66666666, CODE_BYTES
    movl $0x66666666, CODE_BYTES + 4
    movl $0x66666666, CODE_BYTES + 8
    movl $0x90666666, CODE_BYTES + 12
    movl $CODE_BYTES, %eax
    jmp *%eax
    done
    check "a 15-byte instruction"
    movl $0x66666666, CODE_BYTES
    movl $0x66666666, CODE_BYTES + 4
    movl $0x66666666, CODE_BYTES + 8
    movl $0xCC906666, CODE_BYTES + 12
    movl $CODE_BYTES, %eax
    jmp *%eax
    done
    check "a gdt limit in the middle of a descriptor"
    movw $SPARE + 3, SCRATCH
    movl $GDT, SCRATCH + 2
    lgdt SCRATCH
    segment SPARE, 0, 0xFFFFF, 0x92, 0xC
    movl $SPARE, %eax
    movl %eax, %ds
    done
    check "an idt limit in the middle of a gate"
    movw $0x31 * 8 + 6, SCRATCH
    movl $IDT, SCRATCH + 2
    lidt SCRATCH
    int $0x31
    done
    check "an idt limit at the end of a gate"
    movb $0xEE, IDT + 0x31 * 8 + 5
    movw $0x31 * 8 + 7, SCRATCH
    movl $IDT, SCRATCH + 2
    lidt SCRATCH
    int $0x31
    done
