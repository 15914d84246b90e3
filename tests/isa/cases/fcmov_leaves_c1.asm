# FCMOVcc writes C1 only when the stack underflows (volume 2, FCMOVcc).
#
# mode: 64
# rax: 0x200
    fninit
    fldz
    fld1
    fchs
    fxam                    # C1 = 1: negative
    stc
    fcmovb st(0), st(1)
    fnstsw ax
    and eax, 0x200
