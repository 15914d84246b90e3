// title: REP MOVS, 1 MiB
// modes: 32 64
// unit: GB/s
// work: 1048576
// aim: 1

#define BATCH 10

row_setup:
    ret

row:
    mov COUNT, COUNT2
1:  movl $BUFFER, %esi
    movl $COPY, %edi
#if BITS == 64
    movl $0x20000, %ecx
    rep movsq
#else
    movl $0x40000, %ecx
    rep movsl
#endif
    dec COUNT2
    jnz 1b
    ret
