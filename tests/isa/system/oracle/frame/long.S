// Long mode: how a check of 64-bit mode starts, and what every vector leads to there. The line is
//
//   name: vector cs rflags ss:rsp [stack] ds es fs=base gs=base tr cr2 dr6 rax rbx rcx rdx r11 mem ...
//
// with a quadword for each entry of the stack; leading zeros of quadwords are left out.

    .code32
begin_64:
    popl %esi
    call send_string
    movl %esi, behind_name
    movl $enter_long, after_name
    jmp reset_state

enter_long:
    call long_tables
    call long_idt
    movl $TSS, %edi             // RSP0 to RSP2, IST1 and IST2; no I/O bitmap
    movl $0x68 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $INNER0_TOP, TSS + 4
    movl $INNER1_TOP, TSS + 12
    movl $INNER2_TOP, TSS + 20
    movl $IST1_TOP, TSS + 36
    movl $IST2_TOP, TSS + 44
    movw $0x68, TSS + 102
    .irp register, 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084, 0xC0000100, 0xC0000101, 0xC0000102
    write_msr \register, 0, 0
    .endr
    set_cr4 CR4_PAE
    movl $TABLES, %eax
    movl %eax, %cr3
    write_msr EFER, 0, EFER_LME
    add_cr0 CR0_PG
    ljmpl $CODE0_64, $1f
    .code64
1:  movl $DATA0, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    lidt idtr_64
    lgdt gdtr_64
    .irp register, %rcx, %rdx, %rbx, %rbp, %rsi, %rdi, %r8, %r9, %r10, %r11, %r12, %r13, %r14, %r15
    xorq \register, \register
    .endr
    movl $RING0_TOP, %esp
    jmp *behind_name

    .code32
// The first 4 MiB onto themselves by large pages for everybody; LINEAR, TOP and what HALF and
// HIGH stand for by tables of their own, of which the first page is PAGE and the last the next.
long_tables:
    movl $TABLES, %edi
    movl $0x6000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $TABLES + 0x1007, PML4
    movl $TABLES + 0x2007, TABLES + 0x1000
    movl $0x87, TABLES + 0x2000
    movl $0x200087, TABLES + 0x2008
    .irp entry, 0x001, 0x0FF, 0x100, 0x1FF
    movl $PDPT + 7, PML4 + 8 * \entry
    .endr
    .irp entry, 0, 0x1FF
    movl $PD + 7, PDPT + 8 * \entry
    movl $PT + 7, PD + 8 * \entry
    .endr
    movl $PAGE + 7, PT
    movl $PAGE + 0x1007, PT + 0xFF8
    movl $0x90909090, PAGE      // ends a check that goes there
    movl $0x90909090, PAGE + 0xFFC
    movw $0x60CD, PAGE
    ret

long_idt:                       // interrupt gates for ring 0
    movl $IDT, %edi
    movl $stubs_64, %ebx
1:  movl %ebx, %eax
    movw %ax, (%edi)
    movw $CODE0_64, 2(%edi)
    movw $0x8E00, %ax
    movl %eax, 4(%edi)
    movl $0, 8(%edi)
    movl $0, 12(%edi)
    addl $16, %edi
    addl $16, %ebx
    cmpl $IDT + 16 * 0x80, %edi
    jb 1b
    movb $0xEE, IDT + 16 * FINISHED + 5
    ret

    .code64
    .balign 16
stubs_64:
    .set number, 0
    .rept 0x80
    pushq $number
    jmp trapped_64
    .balign 16
    .set number, number + 1
    .endr

trapped_64:
    movq %rax, at_rax
    popq at_vector_64
    movq %rsp, at_rsp
    pushfq
    popq at_rflags
    .irp register, bx, cx, dx, 11
    .ifc \register, 11
    movq %r11, at_r11
    .else
    movq %r\register, at_r\register
    .endif
    .endr
    .irp register, cs, ss, ds, es, fs, gs
    movw %\register, at_\register
    .endr
    movq %cr2, %rax
    movq %rax, at_cr2_64
    movq %dr6, %rax
    movl %eax, at_dr6
    movl $0xC0000100, %ecx
    rdmsr
    movl %eax, at_fs_base
    movl %edx, at_fs_base + 4
    movl $0xC0000101, %ecx
    rdmsr
    movl %eax, at_gs_base
    movl %edx, at_gs_base + 4
    movq at_rsp, %rsi           // to the end of the page, at most 8 quadwords
    movl %esi, %ecx
    negl %ecx
    andl $0xFFF, %ecx
    shrl $3, %ecx
    cmpl $8, %ecx
    jbe 1f
    movl $8, %ecx
1:  movl %ecx, at_words
    xorl %edi, %edi
2:  cmpl %ecx, %edi
    jae 3f
    movq (%rsi,%rdi,8), %rax
    movq %rax, at_stack(,%edi,8)
    incl %edi
    jmp 2b
3:  lgdt gdtr_64
    movl $ENGINE_TOP, %esp
    pushq $CODE0
    pushq $leave_long
    lretq

    .code32
leave_long:
    movl $DATA0, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $0x60000000 | CR0_PE | CR0_NE | 0x10, %eax
    movl %eax, %cr0
    write_msr EFER, 0, 0
    cld
    call print_line_64
    movl $ENGINE_TOP, %esp
    jmp *resume

// Sends the quadword at EBX, at least 8 digits of it.
send_long:
    movl 4(%ebx), %eax
    movl $8, %ecx
    testl %eax, %eax
    jz 1f
    call send_hex
1:  movl (%ebx), %eax
    jmp send_hex

    .macro say_long value
    movb $' ', %al
    call send
    movl $\value, %ebx
    call send_long
    .endm

print_line_64:
    say ": "
    say_hex 2, at_vector_64
    say " "
    say_hex 4, at_cs
    say_long at_rflags
    say " "
    say_hex 4, at_ss
    movb $':', %al
    call send
    movl $at_rsp, %ebx
    call send_long
    say " ["
    xorl %ebp, %ebp
1:  cmpl at_words, %ebp
    jae 3f
    testl %ebp, %ebp
    jz 2f
    movb $' ', %al
    call send
2:  leal at_stack(,%ebp,8), %ebx
    call send_long
    incl %ebp
    jmp 1b
3:  say "] "
    say_hex 4, at_ds
    say " "
    say_hex 4, at_es
    say " "
    say_hex 4, at_fs
    say " "
    say_hex 4, at_gs
    say_long at_fs_base
    say_long at_gs_base
    say " tr "
    str %eax
    say_hex 4, %eax
    say " cr2"
    say_long at_cr2_64
    say " dr6 "
    say_hex 8, at_dr6
    .irp register, ax, bx, cx, dx, 11
    say_long at_r\register
    .endr
    jmp print_watched

    .balign 8
idtr_64:
    .word 16 * 0x80 - 1
    .quad IDT
gdtr_64:
    .word GDT_LIMIT
    .quad GDT
    .balign 8
behind_name: .quad 0
at_vector_64: .quad 0
at_rflags: .quad 0
at_rsp: .quad 0
at_cr2_64: .quad 0
at_fs_base: .quad 0
at_gs_base: .quad 0
at_rax: .quad 0
at_rbx: .quad 0
at_rcx: .quad 0
at_rdx: .quad 0
at_r11: .quad 0
