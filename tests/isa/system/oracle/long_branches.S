// Near branches of 64-bit code with 66h: the operand size is then 16 bits, as AMD's processors have
// it, and the instruction pointer is cut to them; from below 64 KiB, from above, and backwards over
// address 0 (AMD64 APM volume 3, section 1.2.2, and the instructions; Intel SDM volume 2 ignores
// the prefix there).

    .set BELOW, CODE_BYTES + 0x100
    .set ABOVE, PAGE + 0xD100   // its low 16 bits are BELOW
    .set START, 0x20            // a branch back from here leads to END
    .set END, 0xFFC0
    .set TARGET, 0x40           // where branches lead to, from where they stand
    .set FINISH, 0x60CD         // the bytes of int $FINISHED

// Puts an instruction of `length` bytes, the first one the lowest of `number`, at `place`, in RBX,
// and has it and where it may lead to end the check.
    .macro put place, number, length
    .irp end, BELOW+TARGET, ABOVE+TARGET, END, PAGE+0x1FC0
    movw $FINISH, \end
    .endr
    movl $\place, %ebx
    movl $0xCCCCCCCC, 8(%rbx)
    set_64 %rax, (\number|FINISH<<(8*\length))
    movq %rax, (%rbx)
    xorl %eax, %eax
    .endm

// By counter: 66h alone, with 67h, and with REX.W, which comes before 66h.
    .macro counted place, displacement
    .irp opcode, 0xE0, 0xE1, 0xE2, 0xE3
    .irp count, 0, 1, 2, 0x100000000
    .irp zero, 0, 1
    check_64 "\opcode at \place with 66h, rcx \count, zf \zero"
    put \place, (0x66|\opcode<<8|((\displacement-3)&0xFF)<<16), 3
    set_64 %rcx, \count
    cmpl $1-\zero, %eax
    jmp *%rbx
    done
    .endr
    .if \count != 1
    check_64 "\opcode at \place with 66h and 67h, rcx \count"
    put \place, (0x6766|\opcode<<16|((\displacement-4)&0xFF)<<24), 4
    set_64 %rcx, \count
    jmp *%rbx
    done
    check_64 "\opcode at \place with 66h and REX.W, rcx \count"
    put \place, (0x4866|\opcode<<16|((\displacement-4)&0xFF)<<24), 4
    set_64 %rcx, \count
    jmp *%rbx
    done
    .endif
    .endr
    .endr
    .endm

// By 8 bits, by 16, and through a register.
    .macro branches place, displacement
    check_64 "jmp by 8 bits at \place with 66h"
    put \place, (0xEB66|((\displacement-3)&0xFF)<<16), 3
    jmp *%rbx
    done
    .irp zero, 0, 1
    check_64 "je by 8 bits at \place with 66h, zf \zero"
    put \place, (0x7466|((\displacement-3)&0xFF)<<16), 3
    cmpl $1-\zero, %eax
    jmp *%rbx
    done
    check_64 "je by 16 bits at \place with 66h, zf \zero"
    put \place, (0x840F66|((\displacement-5)&0xFFFF)<<24), 5
    cmpl $1-\zero, %eax
    jmp *%rbx
    done
    .endr
    check_64 "jmp by 16 bits at \place with 66h"
    put \place, (0xE966|((\displacement-4)&0xFFFF)<<16), 4
    jmp *%rbx
    done
    check_64 "call by 16 bits at \place with 66h"
    put \place, (0xE866|((\displacement-4)&0xFFFF)<<16), 4
    pushq $-1
    jmp *%rbx
    done
    check_64 "jmp through a register at \place with 66h"
    put \place, 0xE1FF66, 3
    leaq \displacement(%rbx), %rcx
    jmp *%rbx
    done
    check_64 "call through a register at \place with 66h"
    put \place, 0xD1FF66, 3
    leaq \displacement(%rbx), %rcx
    pushq $-1
    jmp *%rbx
    done
    check_64 "ret at \place with 66h"
    put \place, 0xC366, 2
    leaq \displacement(%rbx), %rcx
    pushq $-1
    pushq %rcx
    jmp *%rbx
    done
    check_64 "ret at \place that discards, with 66h"
    put \place, 0x2C266, 4
    leaq \displacement(%rbx), %rcx
    pushq $-1
    pushq %rcx
    jmp *%rbx
    done
    .endm

    counted BELOW, TARGET
    counted ABOVE, TARGET
    counted START, (END-START-0x10000)
    branches BELOW, TARGET
    branches ABOVE, TARGET
    branches START, (END-START-0x10000)
