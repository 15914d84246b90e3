// title: system call from ring 3
// modes: 32 64
// unit: ns
// work: 1
// aim: 2
//
// 64-bit: SYSCALL and SYSRET. 32-bit: INT 80h and IRET through the TSS. A row starts in ring 0, so its
// loop is entered by IRET and left by INT 81h.

row_setup:
#if BITS == 64
    movl $0xC0000081, %ecx       // STAR
    xorl %eax, %eax
    movl $USER_BASE << 16 | 3 << 16 | KERNEL_CODE64, %edx
    wrmsr
    movl $0xC0000082, %ecx       // LSTAR
    movl $handler, %eax
    xorl %edx, %edx
    wrmsr
    movl $0xC0000084, %ecx       // SFMASK
    movl $0x200, %eax
    xorl %edx, %edx
    wrmsr
#else
    movl $0x80, %edi
    movl $handler, %esi
    call set_gate
#endif
    movl $0x81, %edi
    movl $leave, %esi
    jmp set_gate

row:
    mov SP_, B
    mov B, BUFFER
    movl %ecx, %ebx
#if BITS == 64
    pushq $USER_DATA
    pushq $STACK_TOP - 0x800
    pushq $2
    pushq $USER_CODE64
    pushq $user_loop
    iretq
#else
    pushl $USER_DATA
    pushl $STACK_TOP - 0x800
    pushl $2
    pushl $USER_CODE32
    pushl $user_loop
    iretl
#endif

user_loop:
#if BITS == 64
    syscall
#else
    int $0x80
#endif
    decl %ebx
    jnz user_loop
    int $0x81

handler:
#if BITS == 64
    sysretq
#else
    iretl
#endif

leave:
#if BITS == 32
    movl $KERNEL_DATA, %eax      // IRET to ring 3 emptied them
    movl %eax, %ds
    movl %eax, %es
#endif
    mov BUFFER, SP_
    ret
