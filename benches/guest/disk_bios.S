// INT 13h, function 42h: the BIOS's own driver of either bus.

prepare:
    sti
    ret

transfer:
    movb $0x42, %ah
    jmp bios
