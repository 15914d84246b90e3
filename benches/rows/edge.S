// title: loop across a page edge
// modes: 16
// unit: MIPS
// work: 8
// aim: 2

row_setup:
    ret

row:
    jmp 1f
    .org ROW + 0xFF8 - 0x7C00
1:  add B, A
    sub D, B
    xor A, D
    or A, S                      // the page ends at this instruction
    lea 5(S), T
    inc S
    dec COUNT
    jnz 1b
    ret
