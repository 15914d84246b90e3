// Control registers, MSRs and what they allow: values that raise #GP, CR0's bits for x87 and SSE,
// INVPCID (Intel SDM volume 3, sections 2.5, 4.1, 9.2; volume 2, MOV, WRMSR, INVPCID).

    check "NW without CD"
    movl $0x20000011, %eax
    movl %eax, %cr0
    done
    .irp bits, CR4_PCIDE, 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80, 0x200, 0x400, 0x800, 0x10000, 0x40000, 0x100000, 0x200000
    check "cr4 of \bits"
    movl $\bits, %eax
    movl %eax, %cr4
    movl %cr4, %ecx
    done
    .endr
    .irp register, 1, 5, 6, 7
    check "mov from cr\register"
    .byte 0x0F, 0x20, 0xC0 | \register << 3
    done
    check "mov to cr\register"
    .byte 0x0F, 0x22, 0xC0 | \register << 3
    done
    check "ring 3 mov from cr\register"
    ring 3
    .byte 0x0F, 0x20, 0xC0 | \register << 3
    done
    .endr
    check "mov cr0 with a mod that says memory"
    .byte 0x0F, 0x20, 0x01
    movl %ecx, %eax
    movl $0, %ecx
    done
    check "lmsw cannot clear PE"
    movl $0, %eax
    lmsw %ax
    smsw %ecx
    done
    check "lmsw of ones"
    movl $0xFFFF, %eax
    lmsw %ax
    movl %cr0, %ecx
    andl $0x9FFFFFFF, %ecx
    done
    check "clts"
    add_cr0 CR0_TS
    clts
    smsw %cx
    done

// Which x87, MMX and SSE instructions CR0 and CR4 let through.
    .irp bits, 0, CR0_MP, CR0_EM, CR0_TS, CR0_MP+CR0_TS, CR0_EM+CR0_TS, CR0_MP+CR0_EM, CR0_MP+CR0_EM+CR0_TS
    .irp instruction, "fnop", "fwait", "emms", "fxsave SCRATCH", "movaps %xmm0, %xmm1", "ldmxcsr SCRATCH", "prefetchnta SCRATCH", "sfence", "paddb %mm0, %mm1", "fninit"
    .irp cr4, 0, CR4_OSFXSR
    check "\instruction with \bits \cr4"
    movl $0x1F80, SCRATCH
    set_cr4 \cr4
    add_cr0 \bits
    \instruction
    done
    .endr
    .endr
    .endr
    check "fxsave at an unaligned address"
    set_cr4 CR4_OSFXSR
    fxsave SCRATCH + 8
    done
    check "movaps from an unaligned address"
    set_cr4 CR4_OSFXSR
    movaps SCRATCH + 8, %xmm0
    done
    check "ldmxcsr of reserved bits"
    set_cr4 CR4_OSFXSR
    movl $0xFFFF0000, SCRATCH
    ldmxcsr SCRATCH
    done
    check "a masked SSE division by zero"
    set_cr4 CR4_OSFXSR
    divps %xmm0, %xmm0
    done
    .irp xmm, 0, 0x400
    check "an unmasked SSE exception with cr4 \xmm"
    movl $0x0000, SCRATCH
    set_cr4 CR4_OSFXSR+\xmm
    ldmxcsr SCRATCH
    xorps %xmm0, %xmm0
    divps %xmm0, %xmm0
    done
    .endr
    check "an unmasked x87 exception"
    movw $0x0372, SCRATCH
    fldcw SCRATCH
    fldz
    fldz
    fdivrp
    fwait
    done

// MSRs.
    .macro msr_check name, number, high, low
    check "\name"
    movl $\number, %ecx
    movl $\high, %edx
    movl $\low, %eax
    wrmsr
    done
    .endm
    msr_check "wrmsr of no register", 0x12345678, 0, 0
    msr_check "wrmsr EFER reserved", EFER, 0, 0x80
    msr_check "wrmsr EFER reserved high", EFER, 1, 0
    msr_check "wrmsr EFER SCE", EFER, 0, 1
    msr_check "wrmsr PAT type 2", 0x277, 0, 2
    msr_check "wrmsr PAT type 3", 0x277, 0x03000000, 0
    msr_check "wrmsr PAT type 8", 0x277, 0, 0x800
    msr_check "wrmsr MTRR default type 2", 0x2FF, 0, 2
    msr_check "wrmsr MTRR default reserved", 0x2FF, 0, 0x100
    msr_check "wrmsr fixed MTRR type 2", 0x250, 0, 2
    msr_check "wrmsr APIC base reserved", 0x1B, 0, 0xFEE00801
    msr_check "wrmsr LSTAR not canonical", 0xC0000082, 0x00008000, 0
    msr_check "wrmsr FS base not canonical", 0xC0000100, 0x80000000, 0
    msr_check "wrmsr kernel GS base not canonical", 0xC0000102, 0xFFFF0000, 0
    msr_check "wrmsr MTRR capabilities", 0xFE, 0, 0
    check "rdmsr of no register"
    movl $0x12345678, %ecx
    rdmsr
    done
    check "PAT holds what is written"
    movl $0x277, %ecx
    movl $0x00010406, %eax
    movl $0x07050406, %edx
    wrmsr
    xorl %eax, %eax
    xorl %edx, %edx
    rdmsr
    done
    check "a fixed MTRR holds what is written"
    movl $0x250, %ecx
    movl $0x06060606, %eax
    movl $0x04050100, %edx
    wrmsr
    xorl %eax, %eax
    xorl %edx, %edx
    rdmsr
    done
    .irp level, 0, 3
    .irp tsd, 0, CR4_TSD
    check "rdtsc in ring \level with \tsd"
    set_cr4 \tsd
    .if \level
    ring 3
    .endif
    rdtsc
    movl $0, %eax
    movl $0, %edx
    done
    .endr
    .endr

// INVPCID.
    .irp type, 0, 1, 2, 3, 4, 0xFFFFFFFF
    .irp context, 0, 1, 0x1000, 0x80000000
    check "invpcid type \type context \context"
    movl $\type, %ecx
    movl $\context, SCRATCH
    invpcid SCRATCH, %ecx
    done
    .endr
    .endr
    check "invpcid of an address that is not canonical"
    movl $0x80000000, SCRATCH + 12
    invpcid SCRATCH, %ecx
    done
    check "ring 3 invpcid"
    ring 3
    invpcid SCRATCH, %ecx
    done
    check "invpcid beyond the limit"
    segment SPARE, SCRATCH, 0x0E, 0x93, 4
    movl $SPARE, %eax
    movl %eax, %fs
    invpcid %fs:0, %ecx
    done
