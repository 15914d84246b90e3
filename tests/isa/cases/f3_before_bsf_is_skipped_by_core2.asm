# Without BMI1 the bytes of TZCNT are BSF behind a prefix without meaning, which leaves ZF and the
# destination as a source of 0 demands (volume 2, TZCNT).
#
# mode: 64
# cpu: core2
# rax: 0x1234
# rdx: 0x40
    mov eax, 0x1234
    xor ecx, ecx
    .byte 0xf3, 0x0f, 0xbc, 0xc1
    pushfq
    pop rdx
    and edx, 0x40
