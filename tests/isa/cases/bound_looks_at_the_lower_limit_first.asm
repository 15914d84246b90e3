# Below the lower limit BOUND raises #BR without reading the upper one, which lies behind the end
# of the segment here.
#
# mode: 16
# vector: 5
    mov ax, -1
    xor bx, bx
    mov word ptr [0xfffe], bx
    mov bx, 0xfffe
    bound ax, dword ptr [bx]
