// Virtual-8086 mode: IOPL, the virtual interrupt flag of VME, the interrupt redirection map; PVI
// (Intel SDM volume 3, chapter 20, table 20-2). What VIF with VIP means at IOPL 3 the
// manual does not say; it is not asked.

    .set IOPL0, 0
    .set REDIRECTION, TSS + 0x68
    .set IO_MAP, TSS + 0x88

// A TSS with both maps: ports 0 to 7Fh, 40h and 41h denied, 42h free; INT 21h goes to the program,
// all others to the monitor.
    .macro maps
    segment TASK, TSS, 0x98, 0x89
    movw $TASK, %ax
    ltr %ax
    movw $0x88, TSS + 102
    movl $0xFFFFFFFF, REDIRECTION
    movl $0xFFFFFFFD, REDIRECTION + 4
    movl $0xFFFFFFFF, REDIRECTION + 8
    movl $0xFFFFFFFF, REDIRECTION + 12
    movb $0x03, IO_MAP + 8
    movb $0xFF, IO_MAP + 16
    movl $0, %eax
    .endm

    .macro set_vme on
    .if \on
    set_cr4 CR4_VME
    .endif
    .endm

    .irp vme, 0, 1
    .irp iopl, 0, 3
    .irp instruction, "cli", "sti", "pushfw", "pushfl", "hlt", "lgdtw 0", "movl %cr0, %eax", "movl %eax, %dr0", "lmsw %ax", "smsw %ax", "sldt %ax", "str %ax", "lldt %ax", "lar %ax, %bx", "verr %ax", "arpl %ax, %bx", "clts", "rdmsr", "invd", "int3", "into", ".byte 0xF1", "sgdtw 0", "sysexit", "int $0x13", "pushw %ds", "popw %fs", "rdtsc; movl $0, %eax; movl $0, %edx"
    check "\instruction at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl
    \instruction
    done
    .endr
    .irp value, 0x0002, 0x0202, 0x0102, 0x7002, 0x4ED7
    check "popfw \value at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl
    pushw $\value
    popfw
    done
    check "popfl \value at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl
    pushl $\value | 0x1B0000
    popfl
    done
    check "iretw \value at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl
    pushw $\value
    pushw %cs
    call 1f
1:  addw $2f - 1b, (0x1000 - 6)
    popw %ax
    addw $2f - 1b, %ax
    pushw %ax
    iretw
2:  done
    check "iretl \value at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl
    pushl $\value
    pushl $CODE_BYTES >> 4
    pushl $0
    iretl
    done
    .endr
    .irp flags, 0, 0x80000, 0x100000, 0x180000
    .if \iopl * \flags != 3 * 0x180000
    check "sti with flags \flags at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl+\flags
    sti
    done
    check "cli with flags \flags at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl+\flags
    cli
    done
    check "popfw of IF with flags \flags at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl+\flags
    pushw $0x202
    popfw
    done
    check "pushfw with flags \flags at iopl \iopl vme \vme"
    maps
    set_vme \vme
    v86 IOPL\iopl+\flags
    pushfw
    popw %ax
    done
    check "int 21h with flags \flags at iopl \iopl vme \vme"
    maps
    movw $0x0F00, 0x84
    movw $CODE_BYTES >> 4, 0x86
    movl $0x5B5958F4, CODE_BYTES + 0xF00    // hlt
    set_vme \vme
    watch RING3_TOP-8
    v86 IOPL\iopl+\flags+IF
    int $0x21
    done
    .endif
    .endr
    .endr
    .endr

    .irp port, 0x40, 0x41, 0x42, 0x3F, 0x7F, 0x80, 0x88, 0xFF
    .irp iopl, 0, 3
    check "in from port \port at iopl \iopl"
    maps
    v86 IOPL\iopl
    inb $\port, %al
    movb $0, %al
    done
    check "inw from port \port at iopl \iopl"
    maps
    v86 IOPL\iopl
    inw $\port, %ax
    movw $0, %ax
    done
    .endr
    .endr
    check "fault in virtual-8086 mode to ring 1"
    idt_gate 6, CODE1, 0x8E
    v86
    ud2
    done
    check "fault in virtual-8086 mode to conforming code"
    segment SPARE, 0, 0xFFFFF, 0x9E, 0xC
    idt_gate 6, SPARE, 0x8E
    v86
    ud2
    done
    check "fault in virtual-8086 mode through a 16-bit gate"
    idt_gate 6, CODE0_16, 0x86
    idt_offset 6, (1f-start)
    v86
    ud2
1:  done
    check "int in virtual-8086 mode through a gate for ring 0"
    v86 IOPL3
    int $0x31
    done
    check "an offset beyond 64 KiB in virtual-8086 mode"
    v86
    movl $0x10000, %ebx
    movb %ds:(%ebx), %al
    done
    check "a word at offset FFFF in virtual-8086 mode"
    v86
    movw $0xFFFF, %bx
    movw %ds:(%bx), %ax
    done
    check "a word at the stack's offset FFFF in virtual-8086 mode"
    v86
    movw $0xFFFF, %bp
    movw (%bp), %ax
    done
    check "far jump in virtual-8086 mode"
    v86
    movw $0x0B0F, 0x100         // ud2
    ljmpw $SCRATCH >> 4, $0x100
    done
    check "lock in virtual-8086 mode"
    v86
    lock addw %ax, (0)
    done

// Virtual interrupts in protected mode.
    .irp pvi, 0, 1
    .irp iopl, 0, 3
    .irp flags, 0, 0x80000, 0x100000, 0x180000
    .irp instruction, cli, sti
    .if \iopl * \flags != 3 * 0x180000
    check "ring 3 \instruction with flags \flags at iopl \iopl pvi \pvi"
    .if \pvi
    set_cr4 CR4_PVI
    .endif
    ring 3, IOPL\iopl+\flags
    \instruction
    done
    .endif
    .endr
    .endr
    .endr
    .endr
    check "ring 1 sti at iopl 0 under pvi"
    set_cr4 CR4_PVI
    ring 1
    sti
    done
    check "ring 3 popf of IF under pvi"
    set_cr4 CR4_PVI
    ring 3
    pushl $0x202
    popfl
    done
