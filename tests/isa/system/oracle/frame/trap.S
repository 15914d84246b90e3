// What every vector leads to: notes the state, prints the line, goes on behind the check.

    .code32
    .balign 16
stubs:
    .set number, 0
    .rept 0x80
    pushl $number
    jmp trapped
    .balign 16
    .set number, number + 1
    .endr

// On the stack that the check or the TSS had: the vector, and what the CPU pushed. DS may be
// anything.
trapped:
    pushl %eax
    movl %ds, %eax
    pushl %eax
    movl $DATA0, %eax
    movl %eax, %ds
    popl at_ds
    popl at_eax
    popl at_vector
    movl %esp, at_esp
    pushfl
    popl at_flags
    movl %ebx, at_ebx
    movl %ecx, at_ecx
    movl %edx, at_edx
    movw %cs, at_cs
    movw %ss, at_ss
    movw %es, at_es
    movw %fs, at_fs
    movw %gs, at_gs
    movl %cr2, %eax
    movl %eax, at_cr2
    movl %dr6, %eax
    movl %eax, at_dr6
    call keep_stack
    movl $DATA0, %eax
    movl %eax, %ss
    movl $ENGINE_TOP, %esp
    movl %eax, %es
    cld
    call print_line
    movl $ENGINE_TOP, %esp
    jmp *resume

// Copies what the stack holds, up to the end of its page and at most 16 dwords.
keep_stack:
    movl at_esp, %esi
    movl %esi, %ecx
    negl %ecx
    andl $0xFFF, %ecx
    shrl $1, %ecx
    cmpl $32, %ecx
    jbe 1f
    movl $32, %ecx
1:  movl %ecx, at_words
    xorl %edi, %edi
2:  cmpl %ecx, %edi
    jae 3f
    movw %ss:(%esi,%edi,2), %ax
    movw %ax, at_stack(,%edi,2)
    incl %edi
    jmp 2b
3:  ret

print_line:
    say ": "
    say_hex 2, at_vector
    say " "
    say_hex 4, at_cs
    say " "
    say_hex 8, at_flags
    say " "
    say_hex 4, at_ss
    say ":"
    say_hex 8, at_esp
    say " ["
    xorl %ebx, %ebx
1:  movl at_words, %edx
    subl %ebx, %edx
    jz 3f
    cmpl $1, %edx
    je 2f
    say_hex 8, "at_stack(,%ebx,2)"
    movb $' ', %al
    call send
    addl $2, %ebx
    jmp 1b
2:  say_hex 4, "at_stack(,%ebx,2)"
3:  say "] "
    say_hex 4, at_ds
    say " "
    say_hex 4, at_es
    say " "
    say_hex 4, at_fs
    say " "
    say_hex 4, at_gs
    say " tr "
    str %eax
    say_hex 4, %eax
    say " cr2 "
    say_hex 8, at_cr2
    say " dr6 "
    say_hex 8, at_dr6
    say " "
    say_hex 8, at_eax
    say " "
    say_hex 8, at_ebx
    say " "
    say_hex 8, at_ecx
    say " "
    say_hex 8, at_edx
print_watched:
    movl $watched, %ebp
4:  movl (%ebp), %ebx
    testl %ebx, %ebx
    jz 5f
    say " mem "
    say_hex 8, "(%ebx)"
    say " "
    say_hex 8, "4(%ebx)"
    addl $4, %ebp
    jmp 4b
5:  say "\n"
    ret

    .balign 4
at_vector: .long 0
at_cs: .long 0
at_flags: .long 0
at_ss: .long 0
at_esp: .long 0
at_ds: .long 0
at_es: .long 0
at_fs: .long 0
at_gs: .long 0
at_cr2: .long 0
at_dr6: .long 0
at_eax: .long 0
at_ebx: .long 0
at_ecx: .long 0
at_edx: .long 0
at_words: .long 0
at_stack: .skip 64
