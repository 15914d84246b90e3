// title: INT + IRET, same ring
// modes: 16 32 64
// unit: ns
// work: 1
// aim: 2

#define VECTOR 0x80

row_setup:
#if BITS == 16
    movw $handler, VECTOR * 4
    movw $0, VECTOR * 4 + 2
#else
    movl $VECTOR, %edi
    movl $handler, %esi
    call set_gate
#endif
    ret

row:
1:  int $VECTOR
    dec COUNT
    jnz 1b
    ret

handler:
    IRET
