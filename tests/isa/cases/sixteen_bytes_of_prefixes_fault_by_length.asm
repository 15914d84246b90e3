# More than 15 bytes are #GP(0), whatever they would be (volume 2, section 2.3.11).
#
# mode: 32
# vector: 13
# error: 0
    .fill 16, 1, 0x66
    nop
