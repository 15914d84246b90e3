// READ MULTIPLE and WRITE MULTIPLE: an interrupt each BLOCK_SECTORS, the data by string I/O.

#include "ide.S"

#define DATA 0x1F0
#define READ_MULTIPLE 0xC4
#define WRITE_MULTIPLE 0xC5
#define SET_MULTIPLE 0xC6
#define BLOCK_SECTORS 16

prepare:
    call prepare_interrupt
    movb $BLOCK_SECTORS, %cl
    movb $SET_MULTIPLE, %bl
    xorl %eax, %eax
    call issue
    jmp await

transfer:
    movl packet + 8, %eax
    movb $SECTORS, %cl
    movb $READ_MULTIPLE + (WRITE_MULTIPLE - READ_MULTIPLE) * WRITE, %bl
    call issue
    movw $SECTORS / BLOCK_SECTORS, %bp
    xorw %si, %si
    xorw %di, %di
#if WRITE
    movw $DEVICE_CONTROL, %dx
1:  inb %dx, %al                 // the first block is asked for without an interrupt
    andb $0x88, %al
    cmpb $0x08, %al
    jne 1b
#endif
2:
#if !WRITE
    call await
#endif
    movw $DATA, %dx
    movw $BLOCK_SECTORS * 256, %cx
#if WRITE
    rep outsw %es:(%si), %dx
    call await
#else
    rep insw %dx, %es:(%di)
#endif
    decw %bp
    jnz 2b
    ret
