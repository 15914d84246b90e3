# A tiny result of FYL2X raises UE with PE and DE, although a power of two makes it exact (volume 1,
# section 8.5.5).
#
# mode: 64
# rax: 0x32
    fninit
    fld tbyte ptr [rip + tiny]
    fild word ptr [rip + sixteen]
    fyl2x
    fnstsw ax
    and eax, 0x3f
    jmp done
tiny:
    .quad 0x1000
    .word 0
sixteen:
    .word 16
done:
