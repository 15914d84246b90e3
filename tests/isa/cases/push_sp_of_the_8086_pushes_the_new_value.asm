# The 8086 decrements SP before it reads it (volume 3, section 23.17).
#
# mode: 16
# cpu: 8086
# rax: 0x7ffe
    push sp
    pop ax
