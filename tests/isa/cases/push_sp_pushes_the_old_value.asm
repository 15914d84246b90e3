# From the 286 on, PUSH SP pushes what SP was before (volume 3, section 23.17).
#
# mode: 16
# rax: 0x8000
    push sp
    pop ax
