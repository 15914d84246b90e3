// READ DMA and WRITE DMA by the bus master of the IDE function (its programming interface, revision 1.0).

#include "ide.S"

#define READ_DMA 0xC8
#define WRITE_DMA 0xCA

prepare:
    call prepare_interrupt
    movl $0x80000008, %ebx       // the function of class 01, subclass 01 on PCI bus 0
1:  movl %ebx, %eax
    call read_config
    shrl $16, %eax
    cmpw $0x0101, %ax
    je 1f
    addl $0x100, %ebx
    cmpl $0x80010000, %ebx
    jb 1b
    jmp failed
1:  leal 0x20 - 8(%ebx), %eax    // BAR 4
    call read_config
    andb $0xF0, %al
    movw %ax, bus_master
    leal 4 - 8(%ebx), %eax       // the command register
    call read_config
    orb $5, %al
    outl %eax, %dx
    ret

transfer:
    movw bus_master, %dx
    addw $4, %dx
    movl $regions, %eax
    outl %eax, %dx
    movb $6, %al                 // clears the flags of the last transfer
    subw $2, %dx
    outb %al, %dx
    movl packet + 8, %eax
    movb $SECTORS, %cl
    movb $READ_DMA + (WRITE_DMA - READ_DMA) * WRITE, %bl
    call issue
    movw bus_master, %dx
    movb $9 - 8 * WRITE, %al     // start; 8: towards memory
    outb %al, %dx
    call await
    movw bus_master, %dx
    xorb %al, %al
    outb %al, %dx
    addw $2, %dx
    inb %dx, %al
    testb $2, %al
    jnz failed
    ret

// The double word of configuration space at EAX; DX is then the port that writes it.
read_config:
    movw $0xCF8, %dx
    outl %eax, %dx
    movw $0xCFC, %dx
    inl %dx, %eax
    ret

    .balign 4
regions:                         // of physical memory: the bus master's table, one entry
    .long BUFFER_SEGMENT << 4
    .word SECTORS * 512 & 0xFFFF, 0x8000
bus_master:
    .word 0                      // its I/O ports
