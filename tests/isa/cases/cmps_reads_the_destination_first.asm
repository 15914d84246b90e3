# Where both operands of CMPS fault, the one at ES:DI does so first: #GP, not #SS.
#
# mode: 16
# vector: 13
    mov si, 0xffff
    mov di, 0xffff
    .byte 0x36, 0xa7        # cmpsw with SS:SI
