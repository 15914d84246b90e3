# A stack fault of FSIN, masked, gives the default NaN; C2 says that the argument was in range
# (volume 2, FSIN).
#
# mode: 64
# rax: 0x41
    fninit
    fld tbyte ptr [rip + large]
    fsin                    # out of range: C2 = 1
    ffree st(0)
    fsin
    fnstsw ax
    and eax, 0x641          # C2, C1, SF, IE
    jmp done
large:
    .quad 0x8000000000000000
    .short 0x4080
done:
