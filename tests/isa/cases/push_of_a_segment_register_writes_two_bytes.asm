# PUSH DS with 32 bits moves ESP by four and writes the selector alone (volume 2, PUSH).
#
# mode: 32
# rax: 0xffff
    mov dword ptr [esp - 4], -1
    push ds
    mov eax, [esp]
    shr eax, 16
