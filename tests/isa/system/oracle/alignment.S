// Alignment checks: CR0.AM, EFLAGS.AC and ring 3 together, by the size of the data (Intel SDM
// volume 3, section 6.15, #AC and table 6-7).

    .macro aligned_in_ring_3 flags, am
    add_cr0 \am
    set_cr4 CR4_OSFXSR
    add_cr0 \am
    ring 3, \flags
    .endm

    .irp instruction, "movw SCRATCH+1, %ax", "movw SCRATCH+2, %ax", "movw SCRATCH+3, %ax", "movl SCRATCH+1, %eax", "movl SCRATCH+2, %eax", "movl SCRATCH+4, %eax", "movb SCRATCH+1, %al", "movw %ax, SCRATCH+1", "movl %eax, SCRATCH+2", "incl SCRATCH+2", "xchgl %eax, SCRATCH+2", "fldl SCRATCH+4", "fldl SCRATCH+8", "flds SCRATCH+2", "flds SCRATCH+4", "fistps SCRATCH+1", "movq SCRATCH+4, %mm0", "movq SCRATCH+4, %xmm0", "movss SCRATCH+2, %xmm0", "movups SCRATCH+1, %xmm0", "movaps SCRATCH+8, %xmm0", "movaps SCRATCH+16, %xmm0", "cmpxchg8b SCRATCH+4", "boundl %eax, SCRATCH+2", "pushl SCRATCH+2", "popl SCRATCH+2", "lodsl", "sgdt SCRATCH+1"
    check "\instruction with AC"
    aligned_in_ring_3 AC, CR0_AM
    movl $SCRATCH + 2, %esi
    \instruction
    movl $0, %eax
    done
    .endr
    .irp flags, 0, AC
    .irp am, 0, CR0_AM
    check "unaligned in ring 3 with \flags \am"
    aligned_in_ring_3 \flags, \am
    movl SCRATCH + 1, %ecx
    done
    check "unaligned in ring 0 with \flags \am"
    add_cr0 \am
    eflags \flags
    movl SCRATCH + 1, %ecx
    done
    .endr
    .endr
    .irp stack, 1, 2, 3
    check "push on a stack at \stack with AC"
    aligned_in_ring_3 AC, CR0_AM
    subl $\stack, %esp
    pushl $1
    done
    check "call on a stack at \stack with AC"
    aligned_in_ring_3 AC, CR0_AM
    subl $\stack, %esp
    call 1f
1:  done
    .endr
    check "a rep movsl of unaligned dwords with AC"
    aligned_in_ring_3 AC, CR0_AM
    movl $SCRATCH + 1, %esi
    movl $SCRATCH + 0x100, %edi
    movl $4, %ecx
    rep movsl
    done
    check "a segment load from an unaligned table with AC"
    segment LOCAL, LDT+1, 7, 0x82
    movl $0x0000FFFF, LDT + 1
    movl $0x00CFF300, LDT + 5
    movw $LOCAL, %ax
    lldt %ax
    aligned_in_ring_3 AC, CR0_AM
    movl $7, %eax
    movl %eax, %fs
    done
    check "a limit before the alignment"
    segment SPARE, SCRATCH, 0, 0xF3, 4
    aligned_in_ring_3 AC, CR0_AM
    movl $SPARE+3, %eax
    movl %eax, %fs
    movl %fs:1, %ecx
    done
    check "unaligned in virtual-8086 mode with AC"
    add_cr0 CR0_AM
    v86 AC
    movw 1, %ax
    done
