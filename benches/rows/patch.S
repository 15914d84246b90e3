// title: code that changes itself
// modes: 16 32 64
// unit: MIPS
// work: 6
// aim: 2
//
// Each iteration writes the immediate of the next instruction.

row_setup:
    ret

row:
1:  inc A
    movb %al, patched + 1
patched:
    movb $0, %dl
    addb %dl, %bl
    dec COUNT
    jnz 1b
    ret
