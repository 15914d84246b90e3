// Commands to the first IDE drive, and its interrupt. Until that comes the CPU is halted, as in an operating
// system's idle loop.

#define SECTOR_COUNT 0x1F2
#define STATUS 0x1F7
#define DEVICE_CONTROL 0x3F6     // reads as the alternate status

// IRQ 14 goes to `on_interrupt`; there are no other interrupts.
prepare_interrupt:
    movw $on_interrupt, 0x76 * 4
    movw $0, 0x76 * 4 + 2
    movb $0xFB, %al              // interrupts: IRQ 14 alone
    outb %al, $0x21
    movb $0xBF, %al
    outb %al, $0xA1
    xorb %al, %al
    movw $DEVICE_CONTROL, %dx
    outb %al, %dx
    ret

// Command BL to the first drive: CL sectors at EAX (LBA, 28 bits).
issue:
    movl %eax, %esi
    movb $0, pending
    movw $SECTOR_COUNT, %dx
    movb %cl, %al
    outb %al, %dx
    .rept 3
    incw %dx
    movl %esi, %eax
    outb %al, %dx
    shrl $8, %esi
    .endr
    incw %dx
    movl %esi, %eax
    orb $0xE0, %al
    outb %al, %dx
    incw %dx
    movb %bl, %al
    outb %al, %dx
    ret

// Waits for the drive's interrupt.
await:
    cli
    cmpb $0, pending
    jne 1f
    sti
    hlt
    jmp await
1:  movb $0, pending
    sti
    testb $0x21, status
    jnz failed
    ret

on_interrupt:
    pushw %ax
    pushw %dx
    movw $STATUS, %dx
    inb %dx, %al
    movb %al, status
    movb $1, pending
    movb $0x20, %al
    outb %al, $0xA0
    outb %al, $0x20
    popw %dx
    popw %ax
    iretw

status:
    .byte 0                      // as the last interrupt found it
pending:
    .byte 0
