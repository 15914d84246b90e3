// Real mode: `unexpected` on exceptions 0 to 7, and on to the passes. Segment registers are 0.

    .code16
enter_mode:
    xorw %di, %di
    movw $8, %cx
1:  movw $unexpected, (%di)
    movw $0, 2(%di)
    addw $4, %di
    loop 1b
    jmp passes
