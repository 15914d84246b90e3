// title: stack in the page of the code
// modes: 16 32 64
// unit: MIPS
// work: 6
// aim: 2

row_setup:
    ret

row:
    mov SP_, BP_
    mov $ROW_DATA + 0x100, SP_
1:  push A
    call inner
    pop D
    dec COUNT
    jnz 1b
    mov BP_, SP_
    ret
inner:
    ret
