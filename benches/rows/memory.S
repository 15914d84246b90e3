// title: memory: load, store, RMW
// modes: 16 32 64
// unit: MIPS
// work: 10
// aim: 4

row_setup:
    xor S, S
    ret

row:
1:  mov BUFFER(S), A
    add BUFFER + 8(S), A
    mov A, BUFFER + 16(S)
    add A, BUFFER + 24(S)
    mov BUFFER + 32(S), D
    mov D, BUFFER + 40(S)
    add $WORD, S
    and $0x1FFF, S
    dec COUNT
    jnz 1b
    ret
