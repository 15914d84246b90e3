// title: SSE2 double: scalar and packed
// modes: 32 64
// unit: MIPS
// work: 11
// aim: 2
//
// x = (x * 1.5 + 0.75) / 2 comes to rest at 1.5: no denormals, no infinities.

#define X BUFFER
#define CONSTANTS BUFFER + 16

row_setup:
    movl $constants, %esi
    movl $X, %edi
    movl $16, %ecx
    rep movsl
    ret

row:
    movapd CONSTANTS, %xmm1
    movapd CONSTANTS + 16, %xmm2
    movapd CONSTANTS + 32, %xmm3
    movapd X, %xmm4
1:  movsd X, %xmm0
    mulsd %xmm1, %xmm0
    addsd %xmm2, %xmm0
    divsd %xmm3, %xmm0
    movsd %xmm0, X
    mulpd %xmm1, %xmm4
    addpd %xmm2, %xmm4
    divpd %xmm3, %xmm4
    movapd %xmm4, CONSTANTS + 48
    dec COUNT
    jnz 1b
    ret

    .balign 16
constants:
    .double 1.0, 1.0, 1.5, 1.5, 0.75, 0.75, 2.0, 2.0
