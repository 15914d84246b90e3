// title: REP MOVS, 64 KiB
// modes: 16 32 64
// unit: GB/s
// work: 65536
// aim: 1

#define BATCH 100

row_setup:
    ret

row:
    mov COUNT, COUNT2
#if BITS == 16
    push %ds
    push %es
    movw $0x2000, %ax
    movw %ax, %ds
    movw $0x3000, %ax
    movw %ax, %es
1:  xorw %si, %si
    xorw %di, %di
    movw $0x4000, %cx
    rep movsl
    dec COUNT2
    jnz 1b
    pop %es
    pop %ds
#else
1:  movl $BUFFER, %esi
    movl $COPY, %edi
    movl $0x4000, %ecx
    rep movsl
    dec COUNT2
    jnz 1b
#endif
    ret
