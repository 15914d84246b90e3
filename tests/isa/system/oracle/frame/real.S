// Real mode: how a check starts there, and what every vector of the interrupt vector table leads to.
// The line is
//
//   name: vector cs flags ss:esp [stack] ds es fs gs cr0 dr6 eax ebx ecx edx mem ...
//
// with a word for each entry of the stack. A check starts in CODE_SEGMENT with limits of 64 KiB.

    .code32
begin_16:
    popl %esi
    call send_string
    movl %esi, behind_name
    subl $CODE, behind_name
    movl $enter_real, after_name
    jmp reset_state

enter_real:
    xorl %edi, %edi
    movl $CODE_SEGMENT << 16 | (stubs_16 - start), %eax
1:  stosl
    addl $8, %eax
    cmpl $0x80 * 4, %edi
    jb 1b
    ljmp $CODE0_16, $1f - start
    .code16
1:  movw $DATA0_16, %ax
    .irp register, ss, ds, es, fs, gs
    movw %ax, %\register
    .endr
    movl %cr0, %eax
    andb $0xFE, %al
    movl %eax, %cr0
    ljmpw $CODE_SEGMENT, $1f - start
1:  lidtl %cs:ivt_register - start
    movw $STACKS >> 4, %ax
    movw %ax, %ss
    movl $RING0_TOP - STACKS, %esp
    movw $SCRATCH >> 4, %ax
    movw %ax, %ds
    movw %ax, %es
    movw $0x5555, %ax
    movw %ax, %fs
    movw $0x6666, %ax
    movw %ax, %gs
    .irp register, a, b, c, d
    xorl %e\register\()x, %e\register\()x
    .endr
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    jmpw *%cs:behind_name - start

    .balign 8
stubs_16:
    .set number, 0
    .rept 0x80
    pushw $number
    jmp trapped_16
    .balign 8
    .set number, number + 1
    .endr

trapped_16:
    popw %cs:at_vector - start
    movw %ds, %cs:at_ds - start
    movl %eax, %cs:at_eax - start
    movl %esp, %cs:at_esp - start
    pushfl
    popl %cs:at_flags - start
    .irp register, b, c, d
    movl %e\register\()x, %cs:at_e\register\()x - start
    .endr
    .irp register, cs, ss, es, fs, gs
    movw %\register, %cs:at_\register - start
    .endr
    movl %cr0, %eax
    movl %eax, %cs:at_cr0 - start
    movl %dr6, %eax
    movl %eax, %cs:at_dr6 - start
    movw %cs:at_esp - start, %si    // to the end of the page, at most 8 words
    movw %si, %cx
    negw %cx
    andw $0xFFF, %cx
    shrw $1, %cx
    cmpw $8, %cx
    jbe 1f
    movw $8, %cx
1:  movw %cx, %cs:at_words - start
    xorw %di, %di
2:  cmpw %cx, %di
    jae 3f
    movw %ss:(%si), %ax
    addw $2, %si
    movw %di, %bx
    addw %bx, %bx
    movw %ax, %cs:at_stack - start(%bx)
    incw %di
    jmp 2b
3:  lgdtl %cs:gdtr - start
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE0, $leave_real
    .code32
leave_real:
    movl $DATA0, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $ENGINE_TOP, %esp
    cld
    call print_line_16
    movl $ENGINE_TOP, %esp
    jmp *resume

print_line_16:
    say ": "
    say_hex 2, at_vector
    say " "
    say_hex 4, at_cs
    say " "
    say_hex 8, at_flags
    say " "
    say_hex 4, at_ss
    movb $':', %al
    call send
    say_hex 8, at_esp
    say " ["
    xorl %ebx, %ebx
1:  cmpw at_words, %bx
    jae 3f
    testl %ebx, %ebx
    jz 2f
    movb $' ', %al
    call send
2:  say_hex 4, "at_stack(,%ebx,2)"
    incl %ebx
    jmp 1b
3:  say "]"
    .irp register, ds, es, fs, gs
    say " "
    say_hex 4, at_\register
    .endr
    say " cr0 "
    say_hex 8, at_cr0
    say " dr6 "
    say_hex 8, at_dr6
    .irp register, eax, ebx, ecx, edx
    say " "
    say_hex 8, at_\register
    .endr
    jmp print_watched

    .balign 4
ivt_register:
    .word 0x3FF
    .long 0
at_cr0: .long 0
