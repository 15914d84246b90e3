# A conversion that overflows raises PE only if it also loses a bit (volume 1, section 4.9.1.4):
# 2^1000 as a single precision number overflows and is exact.
#
# mode: 64
# vector: 19
# mxcsr: 0x1b88
    mov rax, cr4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    mov cr4, rax
    mov dword ptr [rsp - 8], 0x1b80     # OE unmasked
    ldmxcsr [rsp - 8]
    mov rax, 0x7e70000000000000
    movq xmm0, rax
    cvtsd2ss xmm1, xmm0
