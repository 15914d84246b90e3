// The state in which each check starts.

    .code32
// Sends the name that stands behind the call, brings everything to its default, and goes on
// behind the name.
begin:
    popl %esi
    call send_string
    movl %esi, after_name
reset_state:
    movl $MARKED, MARK
    pushl $2                    // flags, and NMIs are no longer blocked
    pushl $CODE0
    pushl $1f
    iretl
1:
    movl $0x60000000 | CR0_PE | CR0_NE | 0x10, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    movl %eax, %cr4
    movl %eax, %cr2
    movl %eax, %cr3
    xorl %edx, %edx
    movl $EFER, %ecx
    wrmsr
    movl %eax, %dr0
    movl %eax, %dr1
    movl %eax, %dr2
    movl %eax, %dr3
    movl $watched, %edi
    movl $4, %ecx
    rep stosl
    movl $0x400, %ecx
    movl %ecx, %dr7
    movl $0xFFFF0FF0, %ecx
    movl %ecx, %dr6
    movl $STACKS, %edi
    movl $(GDT - STACKS) / 4, %ecx
    rep stosl
    movl $TSS, %edi
    movl $(ENGINE_TOP - 0x1000 - TSS) / 4, %ecx
    rep stosl
    movl $SCRATCH, %edi
    movl $0x1000 / 4, %ecx
    rep stosl
    movl $CODE_BYTES, %edi      // what nobody has written there raises #BP
    movl $0x1000 / 4, %ecx
    movl $0xCCCCCCCC, %eax
    rep stosl
    call reset_tables
    fninit
    movl $RING0_TOP, %esp
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %ebp, %ebp
    movl $DATA0, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    jmp *after_name

reset_tables:
    movl $gdt_template, %esi
    movl $GDT, %edi
    movl $(GDT_LIMIT + 1) / 4, %ecx
    rep movsl
    movl $ldt_template, %esi
    movl $LDT, %edi
    movl $(LDT_LIMIT + 1) / 4, %ecx
    rep movsl
    movl $IDT, %edi             // interrupt gates for ring 0
    movl $stubs, %ebx
1:  movl %ebx, %eax
    movw %ax, (%edi)
    movw $CODE0, 2(%edi)
    shrl $16, %eax
    shll $16, %eax
    movw $0x8E00, %ax
    movl %eax, 4(%edi)
    addl $8, %edi
    addl $16, %ebx
    cmpl $IDT + 8 * 0x80, %edi
    jb 1b
    movb $0xEE, IDT + 8 * FINISHED + 5
    movl $INNER0_TOP, TSS + 4
    movl $DATA0, TSS + 8
    movl $INNER1_TOP, TSS + 12
    movl $DATA1, TSS + 16
    movl $INNER2_TOP, TSS + 20
    movl $DATA2, TSS + 24
    movw $0x68, TSS + 102       // no I/O bitmap
    lgdt gdtr
    lidt idtr
    movw $LOCAL, %ax
    lldt %ax
    movw $TASK, %ax
    ltr %ax
    ljmp $CODE0, $1f
1:  ret

    .balign 8
gdt_template:
    .quad 0
    .quad 0x00CF9B000000FFFF    // CODE0
    .quad 0x00CF93000000FFFF    // DATA0
    .quad 0x00CFBB000000FFFF    // CODE1
    .quad 0x00CFB3000000FFFF    // DATA1
    .quad 0x00CFDB000000FFFF    // CODE2
    .quad 0x00CFD3000000FFFF    // DATA2
    .quad 0x00CFFB000000FFFF    // CODE3
    .quad 0x00CFF3000000FFFF    // DATA3
    .quad 0x0000890000000067 | TSS << 16
    .quad 0
    .quad 0x0000890000000067 | TSS2 << 16
    .quad 0x000081000000002B | TSS16 << 16
    .quad 0x000081000000002B | TSS16_2 << 16
    .quad 0x0000820000000000 | LDT_LIMIT | LDT << 16
    .quad 0x00009B010000FFFF    // CODE0_16, over the image's first 64 KiB
    .quad 0x000093000000FFFF    // DATA0_16
    .quad 0x0000FB010000FFFF    // CODE3_16
    .quad 0x0000F3000000FFFF    // DATA3_16
    .quad 0x00AF9B000000FFFF    // CODE0_64
    .quad 0x00AFFB000000FFFF    // CODE3_64
    .org gdt_template + GDT_LIMIT + 1
ldt_template:
    .quad 0x00CF93000000FFFF    // 04: flat data of ring 0
    .quad 0x00CF9B000000FFFF    // 0C: flat code of ring 0
    .quad 0x00CFF3000000FFFF    // 14: flat data of ring 3
    .quad 0x00CFFB000000FFFF    // 1C: flat code of ring 3
    .org ldt_template + LDT_LIMIT + 1
gdtr:
    .word GDT_LIMIT
    .long GDT
idtr:
    .word 8 * 0x80 - 1
    .long IDT

    .balign 4
watched: .long 0, 0, 0, 0, 0      // up to four, and an end
resume: .long 0
after_name: .long 0
