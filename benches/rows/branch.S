// title: branches on data
// modes: 16 32 64
// unit: MIPS
// work: 15
// aim: 4
//
// Both ways of each conditional branch are two instructions long.

row_setup:
    ret

row:
1:  add $0x1E37, A
    testb $0x10, %al
    jz 2f
    inc D
    jmp 3f
2:  dec D
    dec B
3:  testb $0x04, %ah
    jnz 4f
    inc S
    jmp 5f
4:  dec S
    dec B
5:  cmp D, S
    jl 6f
    inc B
    jmp 7f
6:  dec D
    dec B
7:  dec COUNT
    jnz 1b
    ret
