// title: REP STOS, 64 KiB
// modes: 16 32 64
// unit: GB/s
// work: 65536
// aim: 1

#define BATCH 100

row_setup:
    ret

row:
    mov COUNT, COUNT2
    xorl %eax, %eax
#if BITS == 16
    push %es
    movw $0x3000, %dx
    movw %dx, %es
1:  xorw %di, %di
    movw $0x4000, %cx
    rep stosl
    dec COUNT2
    jnz 1b
    pop %es
#else
1:  movl $COPY, %edi
    movl $0x4000, %ecx
    rep stosl
    dec COUNT2
    jnz 1b
#endif
    ret
