# NULL selectors have any RPL; a return to an outer ring leaves 0 (SDM volume 2, IRET and RET).
#
# mode: 32
# rax: 0
# rdx: 0x23
    mov ecx, 3
    mov es, ecx
    mov ecx, 0x23
    mov fs, ecx
    push 0x23
    push esp
    push 2
    push 0x1b
    call 1f
1:  add dword ptr [esp], 2f - 1b
    iretd
2:  mov eax, es
    mov edx, fs
