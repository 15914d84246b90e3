# REX.W widens the lengths of PCMPESTRI; the index still goes to ECX (volume 2, PCMPESTRI), and
# XMM0 stays.
#
# mode: 64
# rcx: 2
# rdi: 0x6261
    mov rax, cr4
    or eax, 0x200           # OSFXSR
    mov cr4, rax
    mov eax, 2
    mov edx, 4
    mov rcx, -1
    movdqu xmm0, [rip + pattern]
    movdqu xmm2, [rip + text]
    .byte 0x66, 0x48, 0x0f, 0x3a, 0x61, 0xc2, 0x0c      # rex.w pcmpestri xmm0, xmm2, 0ch
    movq rdi, xmm0
    jmp done
pattern:
    .ascii "ab"
    .fill 14
text:
    .ascii "xxab"
    .fill 12
done:
