// What comes from outside at a moment of its own: NMIs and interrupts that end a HLT, and such as
// come in the middle of a repeated string instruction, where the saved instruction pointer is that of
// the instruction with its prefixes, RF is saved as 1, the counter and the index registers say how
// far it is, and after IRET it goes on to its end (Intel SDM volume 2, HLT and REP; volume 3,
// sections 6.7 and 17.3.1.1).
//
// What a check prints does not depend on when the interrupt comes. One that did not come where the
// check wants it is asked for again, after half the time.

    .set COUNT, 0x4000          // iterations
    .set LONGEST, 0x40000       // counts of a timer
    .set SOURCE, 0x240000
    .set TARGET, 0x300000
    .set PATTERN, 0x55555555
    .set REGION, COUNT * 8
    .set LOW_TARGET, 0x40000    // where 16-bit code can write
    .set ADDRESSES_16, 0x12340000

// What an interrupt in the middle finds, in SCRATCH.
    .set CAUGHT, SCRATCH        // 1: one came
    .set WHERE, SCRATCH + 0x04  // the instruction pointer, less that of the instruction
    .set FLAGS, SCRATCH + 0x08
    .set TO, SCRATCH + 0x10     // (E)DI, less what the counter says of it
    .set FROM, SCRATCH + 0x14   // (E)SI likewise
    .set NEXT, SCRATCH + 0x18   // the byte that comes next
    .set LAST, SCRATCH + 0x1C   // the byte that came last
    .set WAIT, SCRATCH + 0x40   // counts of the timer

    jmp arrival_checks

    .code32
// Registers and memory for another attempt: PATTERN from SOURCE on, zeros from TARGET on.
start_over:
    cld
    movl $DATA0, %eax
    movl %eax, %es
    movl $SOURCE, %edi
    movl $REGION / 4, %ecx
    movl $PATTERN, %eax
    rep stosl
    movl $TARGET - 16, %edi
    movl $REGION / 4 + 8, %ecx
    xorl %eax, %eax
    rep stosl
    movl $LOW_TARGET, %edi
    movl $COUNT / 4 + 1, %ecx
    rep stosl
    movl $SOURCE, %esi
    movl $TARGET, %edi
    movl $COUNT, %ecx
    shrl $1, WAIT
    jnz 1f
    movl $LONGEST, WAIT
1:  movl $0, APIC + EOI         // the end of the last one
    movl $0x1FF, APIC + SPURIOUS
    movl $0xB, APIC + DIVIDE
    movl $VECTOR, APIC + LVT_TIMER
    movl WAIT, %eax
    movl %eax, APIC + INITIAL_COUNT
    movl $PATTERN, %eax
    ret

// The same, and what else one instruction or the other wants.
start_nmi:
    call start_over
    movl $MASKED, APIC + LVT_TIMER
    route_timer NMI
    movl WAIT, %eax
    shrl $3, %eax
    movl %eax, %edx
    count %dl, %dh
    movl $PATTERN, %eax
    ret
start_at_source:
    call start_over
    movl %esi, %edi
    ret
start_at_last_words:
    call start_over
    addl $COUNT * 2 - 2, %edi
    addl $COUNT * 2 - 2, %esi
    ret
start_at_last_longs:
    call start_over
    addl $COUNT * 4 - 4, %edi
    ret
start_with_port:                // the scratch register of the serial line
    call start_over
    movl $COM1 + 7, %edx
    outb %al, %dx
    ret
start_16:
    call start_over
    segment SPARE, LOW_TARGET, 0xFFFF, 0x92
    jmp 1f
start_16_at_source:
    call start_over
    segment SPARE, SOURCE, 0xFFFF, 0x92
1:  movl $SPARE, %edx
    movl %edx, %es
    movl $ADDRESSES_16, %edi
    orl $ADDRESSES_16, %ecx
    ret

// Whether all of a region is PATTERN: ECX is 0 and ZF set.
    .macro scan start, bytes
    movl $\start, %edi
    movl $\bytes, %ecx
    movb $PATTERN & 0xFF, %al
    repe scasb
    movl $0, %eax
    .endm

// The handler: notes what it finds if it comes between the first and the last iteration of the
// instruction from 1 to 5. `to` and `from` are where EDI and ESI began, 0 if they do not move.
    .macro find size, to, from, read_back, down
2:  movl $0, APIC + EOI
    cmpl $1b, (%esp)
    jb 3f
    cmpl $5b, (%esp)
    jae 3f
    cmpw $COUNT, %cx
    je 3f
    testw %cx, %cx
    jz 3f
    pushal
    movl $1, CAUGHT
    movl 32(%esp), %eax
    subl $1b, %eax
    movl %eax, WHERE
    movl 40(%esp), %eax
    movl %eax, FLAGS
    movzwl %cx, %ecx
    subl $COUNT, %ecx
    imull $\size, %ecx, %eax    // behind the start, if upwards
    .if \down
    negl %eax
    .endif
    .if \to
    leal -\to(%edi,%eax), %ebx
    movl %ebx, TO
    .endif
    .if \from
    leal -\from(%esi,%eax), %ebx
    movl %ebx, FROM
    .endif
    .if \read_back
    movzbl (%edi), %eax
    movl %eax, NEXT
    .if \down
    movzbl \size(%edi), %eax
    .else
    movzbl -1(%edi), %eax
    .endif
    movl %eax, LAST
    .endif
    popal
3:  iretl
    .endm

// An interrupt in a repeated instruction of 32-bit code. With `down` it goes downwards; with
// `read_back` it has written PATTERN where EDI points.
    .macro interrupted name, instruction, size, to, from, read_back, start=start_over, down=0
    check "\name"
    idt_offset VECTOR, 2f
    idt_offset 2, 2f
    watch CAUGHT, FLAGS, TO, NEXT
4:  call \start
    .if \down
    std
    .endif
    cmpl %eax, %eax
    sti
    nop
1:  \instruction
5:  cli
    cld
    cmpl $0, CAUGHT
    je 4b
    movl $MASKED, APIC + LVT_TIMER
    route_timer MASKED
    .if \to
    leal -\to(%edi), %ebx
    .endif
    .if \from
    leal -\from(%esi), %edx
    .else
    xorl %edx, %edx
    .endif
    orl WHERE, %ecx             // 0
    .if \read_back
    scan TARGET, (COUNT*\size)
    .endif
    xorl %eax, %eax
    jmp 6f
    find \size, \to, \from, \read_back, \down
6:  done
    .endm

arrival_checks:
    movb $0xFF, %al             // nothing comes through the 8259s
    outb %al, $0x21
    outb %al, $0xA1

// HLT.
    .irp flags, 0, IF
    check "an NMI wakes a HLT with \flags"
    eflags \flags
    idt_offset 2, 2f
    route_timer NMI
    count $0, $4
6:  hlt
7:  jmp 6b
2:  cmpl $7b, (%esp)            // or it came before
    je 3f
    count $0, $4
    iretl
3:  route_timer MASKED
    xorl %eax, %eax
    jmp stubs + 16 * 2
    done
    .endr
    check "an NMI wakes a HLT that an interrupt cannot"
    call pend
    idt_offset 2, 2f
    route_timer NMI
    count $0, $4
6:  hlt
7:  jmp 6b
2:  cmpl $7b, (%esp)
    je 3f
    count $0, $4
    iretl
3:  route_timer MASKED
    xorl %eax, %eax
    jmp stubs + 16 * 2
    done
    check "an NMI wakes a HLT, which goes on"
    idt_offset 2, 2f
    route_timer NMI
    count $0, $4
6:  hlt
7:  incl %ebx
    cmpl $0, CAUGHT
    je 6b
    route_timer MASKED
    movl $0, %eax
    movl $0, %ebx
    jmp 3f
2:  cmpl $7b, (%esp)
    je 1f
    count $0, $4
    iretl
1:  movl $1, CAUGHT
    iretl
3:  done
    check_64 "an NMI wakes a HLT in 64-bit mode"
    movl $IOAPIC | 0x97, TABLES + 0x2018
    idt_offset_64 2, 2f
    .set IOAPIC, 0x600000
    route_timer NMI
    count $0, $4
6:  hlt
7:  jmp 6b
2:  cmpq $7b, (%rsp)
    je 3f
    count $0, $4
    iretq
3:  route_timer MASKED
    xorl %eax, %eax
    jmp stubs_64 + 16 * 2
    .set IOAPIC, 0xFEC00000
    done
    check "an interrupt wakes a HLT"
    movl $0, APIC + EOI
    movl $0x1FF, APIC + SPURIOUS
    movl $0xB, APIC + DIVIDE
    movl $VECTOR, APIC + LVT_TIMER
    movl $LONGEST, APIC + INITIAL_COUNT
    sti
    hlt
    nop
    done

// Repeated string instructions.
    interrupted "an interrupt in rep stosb", "rep stosb", 1, TARGET, 0, 1
    interrupted "an interrupt in rep stosw", "rep stosw", 2, TARGET, 0, 1
    interrupted "an interrupt in rep stosl", "rep stosl", 4, TARGET, 0, 1
    interrupted "an interrupt in rep movsb", "rep movsb", 1, TARGET, SOURCE, 1
    interrupted "an interrupt in rep movsl", "rep movsl", 4, TARGET, SOURCE, 1
    interrupted "an interrupt in rep lodsb", "rep lodsb", 1, 0, SOURCE, 0
    interrupted "an interrupt in repe scasb", "repe scasb", 1, SOURCE, 0, 0, start_at_source
    interrupted "an interrupt in repne scasb", "repne scasb", 1, TARGET, 0, 0
    interrupted "an interrupt in repe cmpsb", "repe cmpsb", 1, SOURCE, SOURCE, 0, start_at_source
    interrupted "an interrupt in repne cmpsl", "repne cmpsl", 4, TARGET, SOURCE, 0
    interrupted "an interrupt in rep stosl downwards", "rep stosl", 4, (TARGET+COUNT*4-4), 0, 1, start_at_last_longs, 1
    interrupted "an interrupt in rep movsw downwards", "rep movsw", 2, (TARGET+COUNT*2-2), (SOURCE+COUNT*2-2), 1, start_at_last_words, 1
    interrupted "an interrupt in rep insb", "rep insb", 1, TARGET, 0, 1, start_with_port
    interrupted "an interrupt in rep outsb", "rep outsb", 1, 0, SOURCE, 0, start_with_port
    interrupted "an NMI in rep stosb", "rep stosb", 1, TARGET, 0, 1, start_nmi
    interrupted "an NMI in rep movsl", "rep movsl", 4, TARGET, SOURCE, 1, start_nmi

// Prefixes in each order.
    .irp prefixes, "0x26,0xF3", "0xF3,0x26", "0x2E,0x26,0xF3", "0xF3,0x3E", "0xF3,0xF3", "0xF2"
    interrupted "an interrupt in bytes \prefixes,0xA4", ".byte \prefixes,0xA4", 1, TARGET, SOURCE, 1
    .endr
    .irp prefixes, "0x66,0xF3", "0xF3,0x26,0x66"
    interrupted "an interrupt in bytes \prefixes,0xA5", ".byte \prefixes,0xA5", 2, TARGET, SOURCE, 1
    .endr

// Addresses of 16 bits: the upper halves of the registers stay.
    interrupted "an interrupt in addr16 rep stosb", "addr16 rep stosb", 1, ADDRESSES_16, 0, 0, start_16
    interrupted "an interrupt in addr16 repe scasb", "addr16 repe scasb", 1, ADDRESSES_16, 0, 0, start_16_at_source

    check "an interrupt in rep stosb, where a breakpoint has hit already"
    idt_offset VECTOR, 2f
    idt_offset 1, 7f
    watch CAUGHT, FLAGS, TO, NEXT
    movl $1f, %eax
    movl %eax, %dr0
    movl $0x402, %eax
    movl %eax, %dr7
4:  call start_over
    pushl $RF | IF | 2
    pushl $CODE0
    pushl $1f
    iretl
1:  rep stosb
5:  cli
    cmpl $0, CAUGHT
    je 4b
    movl $MASKED, APIC + LVT_TIMER
    subl $TARGET, %edi
    movl %edi, %ebx
    xorl %eax, %eax
    jmp 6f
    find 1, TARGET, 0, 1, 0
7:  xorl %eax, %eax
    xorl %ecx, %ecx
    movl $MASKED, APIC + LVT_TIMER
    jmp stubs + 16 * 1
6:  done

    check "an interrupt in rep stosb of virtual-8086 mode"
    idt_offset VECTOR, 2f
    idt_offset 0x31, 3f
    idt_gate 0x31, CODE0, 0xEE
    watch CAUGHT, FLAGS, TO, NEXT
4:  call start_over
    v86 IF+IOPL3
    movw $LOW_TARGET >> 4, %ax
    movw %ax, %es
    movb $PATTERN & 0xFF, %al
    movl $ADDRESSES_16, %edi
    movl $ADDRESSES_16 | COUNT, %ecx
1:  rep stosb
5:  int $0x31
    .code32
2:  pushal
    movl $DATA0, %eax
    movl %eax, %ds
    movl $0, APIC + EOI
    movl 36(%esp), %eax         // CS and IP as an address
    shll $4, %eax
    addl 32(%esp), %eax
    subl $1b, %eax
    cmpl $5b - 1b, %eax
    jae 6f
    cmpw $COUNT, %cx
    je 6f
    testw %cx, %cx
    jz 6f
    movl $1, CAUGHT
    movl %eax, WHERE
    movl 40(%esp), %eax
    movl %eax, FLAGS
    leal -COUNT(%edi,%ecx), %eax
    movl %eax, TO
    movzwl %di, %edi
    movzbl LOW_TARGET(%edi), %eax
    movl %eax, NEXT
    movzbl LOW_TARGET-1(%edi), %eax
    movl %eax, LAST
6:  popal
    iretl
3:  movl $DATA0, %eax
    movl %eax, %ds
    movl %eax, %es
    cmpl $0, CAUGHT
    je 4b
    movl $MASKED, APIC + LVT_TIMER
    movl %edi, %ebx
    movl %ecx, %edx
    scan LOW_TARGET, COUNT
    done

// 64-bit mode.
    .macro find_64 size, to, from
2:  movl $0, APIC_64 + EOI
    cmpq $1b, (%rsp)
    jb 3f
    cmpq $5b, (%rsp)
    jae 3f
    cmpw $COUNT, %cx
    je 3f
    testw %cx, %cx
    jz 3f
    pushq %rax
    pushq %rbx
    movl $1, CAUGHT
    movq 16(%rsp), %rax
    subq $1b, %rax
    movl %eax, WHERE
    movq 32(%rsp), %rax
    movq %rax, FLAGS
    leaq -COUNT(%rcx), %rax
    imulq $\size, %rax, %rax
    leaq -\to(%rdi,%rax), %rbx
    movl %ebx, TO
    .if \from
    leaq -\from(%rsi,%rax), %rbx
    movl %ebx, FROM
    .endif
    movzbl (%rdi), %eax
    movl %eax, NEXT
    movzbl -1(%rdi), %eax
    movl %eax, LAST
    popq %rbx
    popq %rax
3:  iretq
    .endm
    .macro interrupted_64 name, instruction, size, from=0, upper=0
    check_64 "\name"
    map_apic
    movl $0, APIC_64 + EOI
    movl $VECTOR, APIC_64 + LVT_TIMER
    movl $0x1FF, APIC_64 + SPURIOUS
    movl $0xB, APIC_64 + DIVIDE
    idt_offset_64 VECTOR, 2f
    watch CAUGHT, FLAGS, TO, NEXT
4:  movl $SOURCE, %edi
    movl $REGION / 4, %ecx
    movl $PATTERN, %eax
    rep stosl
    movl $TARGET - 16, %edi
    movl $REGION / 4 + 8, %ecx
    xorl %eax, %eax
    rep stosl
    shrl $1, WAIT
    jnz 1f
    movl $LONGEST, WAIT
1:  movl WAIT, %eax
    movl %eax, APIC_64 + INITIAL_COUNT
    set_64 %rax, 0x5555555555555555
    movl $SOURCE, %esi
    movl $TARGET, %edi
    movl $COUNT, %ecx
    .if \upper
    set_64 %rbx, 0x1234567800000000
    orq %rbx, %rcx
    orq %rbx, %rdi
    .endif
    cmpl %eax, %eax
    sti
    nop
1:  \instruction
5:  cli
    cmpl $0, CAUGHT
    je 4b
    movl $MASKED, APIC_64 + LVT_TIMER
    leaq -TARGET(%rdi), %rbx
    movq %rcx, %rdx
    scan TARGET, (COUNT*\size)
    jmp 6f
    find_64 \size, TARGET, \from
6:  done
    .endm
    interrupted_64 "an interrupt in rep stosb in 64-bit mode", "rep stosb", 1
    interrupted_64 "an interrupt in rep stosq", "rep stosq", 8
    interrupted_64 "an interrupt in rep movsb in 64-bit mode", "rep movsb", 1, SOURCE
    interrupted_64 "an interrupt in rep movsq", "rep movsq", 8, SOURCE
    interrupted_64 "an interrupt in addr32 rep stosl", "addr32 rep stosl", 4, 0, 1
    interrupted_64 "an interrupt in rep addr32 stosq", ".byte 0xF3,0x67,0x48,0xAB", 8, 0, 1
    interrupted_64 "an interrupt in addr32 gs rep stosq", ".byte 0x67,0x65,0xF3,0x48,0xAB", 8, 0, 1
