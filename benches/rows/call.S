// title: call, ret, push, pop
// modes: 16 32 64
// unit: MIPS
// work: 12
// aim: 4

row_setup:
    ret

row:
1:  call outer
    call outer
    push A
    pop D
    dec COUNT
    jnz 1b
    ret
outer:
    call inner
    ret
inner:
    ret
