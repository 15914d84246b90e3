// title: stores beside code in its page
// modes: 16 32 64
// unit: MIPS
// work: 6
// aim: 2
//
// The page of the loop holds its variables too, as in boot loaders; no instruction is changed.

row_setup:
    ret

row:
1:  mov A, ROW_DATA
    add D, ROW_DATA + 16
    mov ROW_DATA + 32, D
    inc A
    dec COUNT
    jnz 1b
    ret
