# RCL by as many bits as operand and CF have together changes nothing, OF neither
# (volume 2, RCL: the flags are not affected by a count of 0 after the reduction).
#
# mode: 64
# rax: 0x0f
# rdx: 0x801
    mov eax, 0x7f
    add al, 1               # OF = 1, CF = 0
    mov al, 0x0f
    mov cl, 9
    rcl al, cl
    pushfq
    pop rdx
    and edx, 0x801
    or edx, 1
    movzx eax, al
