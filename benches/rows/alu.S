// title: ALU, registers
// modes: 16 32 64
// unit: MIPS
// work: 12
// aim: 4

row_setup:
    ret

row:
1:  add B, A
    sub D, B
    xor A, D
    and S, T
    or A, S
    shl $3, A
    lea 5(S), T
    cmp B, A
    adc $7, D
    inc S
    dec COUNT
    jnz 1b
    ret
