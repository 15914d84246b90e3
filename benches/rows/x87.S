// title: x87 add, mul, div, load, store
// modes: 32 64
// unit: MIPS
// work: 12
// aim: 2
//
// x = (x * 1.5 + 0.75) / 2 comes to rest at 1.5: no denormals, no infinities.

#define X BUFFER
#define CONSTANTS BUFFER + 8

row_setup:
    fninit
    movl $constants, %esi
    movl $X, %edi
    movl $8, %ecx
    rep movsl
    ret

row:
1:  fldl X
    fmull CONSTANTS
    faddl CONSTANTS + 8
    fdivl CONSTANTS + 16
    fld %st(0)
    fmul %st(1), %st
    fxch
    fadd %st(1), %st
    fsubp
    fstpl X
    dec COUNT
    jnz 1b
    fldl constants
    fstpl X
    ret

    .balign 8
constants:
    .double 1.0, 1.5, 0.75, 2.0
