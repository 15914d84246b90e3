# DPPS raises the exceptions of its products before it adds any (volume 2, DPPS): no PE, which
# only the sums would raise.
#
# mode: 64
# vector: 19
# mxcsr: 0x1f01
    mov rax, cr4
    or eax, 0x600
    mov cr4, rax
    mov dword ptr [rsp - 8], 0x1f00     # IE unmasked
    ldmxcsr [rsp - 8]
    movups xmm0, [rip + left]
    movups xmm1, [rip + right]
    dpps xmm0, xmm1, 0xff
left:
    .float 0, 1, 1, 1
right:
    .long 0x7f800000, 0x3f800000, 0x33000001, 0x3f800000
