/*
 * A boot disk that calls the BIOS's services and checks what they answer. Sector 0 loads the rest
 * by INT 13h; each check that fails ends the run with its number on the debug exit port 0xF4, and
 * success with 0x31. The names of the checks that passed go to the debug port 0x402.
 *
 * Sectors 8-9 of the disk are for reading and writing; sector 8 holds 0x00 to 0xFF twice.
 */
    .code16
    .text
    .globl _start

    .set SECTORS, 8             # of this program
    .set EXIT_PORT, 0xf4
    .set DEBUG_PORT, 0x402
    .set PASSED, 0x31
    .set BUFFER, 0x9000         # one sector each, to compare
    .set OTHER, 0x9200

_start:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    movb %dl, drive
    movw $0x0200 | (SECTORS - 1), %ax
    movw $0x7e00, %bx
    movw $0x0002, %cx           # cylinder 0, sector 2
    movb $0, %dh
    int $0x13
    movb $1, check
    jc failed
    jmp checks

failed:
    movb check, %al
    outb %al, $EXIT_PORT
    hlt
    jmp failed

drive:
    .byte 0
check:
    .byte 0

    .org 510
    .word 0xaa55

    .macro begin number, name
    movb $\number, check
    movw $1f, %si
    call report
    jmp 2f
1:  .asciz "\name\n"
2:
    .endm

report:
    movw $DEBUG_PORT, %dx
3:  lodsb
    testb %al, %al
    jz 4f
    outb %al, %dx
    jmp 3b
4:  ret

checks:
    begin 2, "read by block number"
    movw $packet, %si
    movb $0x42, %ah
    movb drive, %dl
    int $0x13
    jc failed
    movw $BUFFER, %si
    xorw %cx, %cx
5:  lodsb
    cmpb %cl, %al
    jne failed
    incw %cx
    cmpw $512, %cx
    jne 5b

    begin 3, "read by cylinder, head and sector: the same bytes"
    movw $0x0201, %ax
    movw $OTHER, %bx
    movw $0x0009, %cx           # sector 9 is block 8
    movb $0, %dh
    movb drive, %dl
    int $0x13
    jc failed
    cmpb $1, %al
    jne failed
    movw $BUFFER, %si
    movw $OTHER, %di
    movw $256, %cx
    repe cmpsw
    jne failed

    begin 4, "write a block, read it back"
    movw $0xbeef, BUFFER + 100
    movb $9, packet_lba
    movw $packet, %si
    movw $0x4300, %ax
    movb drive, %dl
    int $0x13
    jc failed
    movw $OTHER, packet_offset
    movb $0x42, %ah
    int $0x13
    jc failed
    movw $BUFFER, %si
    movw $OTHER, %di
    movw $256, %cx
    repe cmpsw
    jne failed

    begin 5, "a block past the end is refused"
    movl $0xffffffff, packet_lba
    movw $packet, %si
    movb $0x42, %ah
    int $0x13
    jnc failed
    testb %ah, %ah
    jz failed

    begin 6, "drive parameters: EDD 3.0, and the same size both ways"
    movb $0x41, %ah
    movw $0x55aa, %bx
    movb drive, %dl
    int $0x13
    jc failed
    cmpw $0xaa55, %bx
    jne failed
    movw $66, OTHER
    movw $OTHER, %si
    movb $0x48, %ah
    int $0x13
    jc failed
    cmpl $4096, OTHER + 16      # blocks of the test's disk
    jne failed
    cmpw $512, OTHER + 24
    jne failed
    cmpw $0xbedd, OTHER + 30
    jne failed
    movb $0x15, %ah
    int $0x13
    jc failed
    cmpb $3, %ah
    jne failed
    cmpw $4096, %dx
    jne failed

    begin 7, "no diskette, no second disk"
    movw $0x0201, %ax
    movw $OTHER, %bx
    movw $0x0001, %cx
    xorw %dx, %dx
    int $0x13
    jnc failed
    movw $0x0201, %ax
    movw $0x0081, %dx
    int $0x13
    jnc failed

    begin 8, "memory map: ordered ranges, RAM at 0 and at 1 MiB"
    xorl %ebx, %ebx
    xorw %bp, %bp
6:  movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    movw $OTHER, %di
    int $0x15
    jc failed
    cmpl $0x534d4150, %eax
    jne failed
    cmpl $20, %ecx
    jne failed
    cmpl $1, OTHER + 16
    jne 7f
    cmpl $0, OTHER
    jne 8f
    orw $1, %bp
8:  cmpl $0x100000, OTHER
    jne 7f
    orw $2, %bp
7:  testl %ebx, %ebx
    jnz 6b
    cmpw $3, %bp
    jne failed

    begin 9, "memory sizes"
    int $0x12
    cmpw $600, %ax
    jb failed
    movb $0x88, %ah
    int $0x15
    jc failed
    cmpw $60000, %ax            # the test's machine has 64 MiB
    jb failed
    movw $0xe801, %ax
    int $0x15
    jc failed
    cmpw $0x3c00, %cx
    jne failed
    jmp more

packet:
    .byte 16, 0
    .word 1
packet_offset:
    .word BUFFER, 0
packet_lba:
    .quad 8

failed_far:
    jmp failed

more:
    begin 10, "a move to 1 MiB and back"
    movl $BUFFER | 0x93000000, move_source
    movl $0x100000 | 0x93000000, move_target
    movw $move_table, %si
    movb $0x87, %ah
    movw $256, %cx
    int $0x15
    jc failed_far
    movl $0x100000 | 0x93000000, move_source
    movl $OTHER | 0x93000000, move_target
    movw $0x1234, OTHER + 100
    movb $0x87, %ah
    movw $256, %cx
    int $0x15
    jc failed_far
    cmpw $0xbeef, OTHER + 100
    jne failed_far

    begin 11, "ticks"
    movl 0x46c, %eax
9:  hlt
    cmpl 0x46c, %eax
    je 9b
    movb $0, %ah
    int $0x1a
    cmpw %dx, 0x46c
    jne failed_far

    begin 12, "a wait of 3 ms"
    movb $0x86, %ah
    xorw %cx, %cx
    movw $3000, %dx
    int $0x15
    jc failed_far

    begin 13, "a key put into the buffer comes out"
    movb $0x05, %ah
    movw $0x1e61, %cx
    int $0x16
    movb $0x01, %ah
    int $0x16
    jz failed_far
    movb $0x00, %ah
    int $0x16
    cmpw $0x1e61, %ax
    jne failed_far
    movb $0x11, %ah
    int $0x16
    jnz failed_far

    begin 14, "PCI BIOS: the ISA bridge is found"
    movw $0xb101, %ax
    int $0x1a
    jc failed_far
    cmpl $0x20494350, %edx
    jne failed_far
    movw $0xb102, %ax
    movw $0x8086, %dx
    movw $0x7000, %cx
    xorw %si, %si
    int $0x1a
    jc failed_far
    cmpw $0x0008, %bx
    jne failed_far
    movw $0xb10a, %ax
    xorw %di, %di
    int $0x1a
    jc failed_far
    cmpl $0x70008086, %ecx
    jne failed_far

    begin 15, "screen: mode 3, a character written is read back"
    movb $0x0f, %ah
    int $0x10
    cmpw $0x5003, %ax
    jne failed_far
    movb $0x02, %ah
    movb $0, %bh
    movw $0x0a14, %dx
    int $0x10
    movw $0x0941, %ax
    movw $0x001e, %bx
    movw $1, %cx
    int $0x10
    movb $0x08, %ah
    movb $0, %bh
    int $0x10
    cmpw $0x1e41, %ax
    jne failed_far
    movw $0x0601, %ax           # one line up: it is a row higher
    movw $0x0700, %bx
    xorw %cx, %cx
    movw $0x184f, %dx
    int $0x10
    movw $0xb800, %ax
    movw %ax, %fs
    cmpw $0x1e41, %fs:(9 * 80 + 20) * 2
    jne failed_far

    begin 16, "a time and a date"
    movb $0x02, %ah
    int $0x1a
    jc failed_far
    movb $0x04, %ah
    int $0x1a
    jc failed_far
    cmpb $0x20, %ch
    jne failed_far

    begin 17, "registers that a service does not return are kept"
    movl $0x11112222, %ebx
    movl $0x33334444, %ebp
    movl $0x55556666, %esi
    movl $0x77778888, %edi
    movb $0x00, %ah
    int $0x1a
    cmpl $0x11112222, %ebx
    jne failed_far
    cmpl $0x33334444, %ebp
    jne failed_far
    cmpl $0x55556666, %esi
    jne failed_far
    cmpl $0x77778888, %edi
    jne failed_far

    movb $PASSED, %al
    outb %al, $EXIT_PORT
10: hlt
    jmp 10b

    .balign 8
move_table:
    .quad 0, 0
    .word 0xffff
move_source:
    .long 0
    .word 0
    .word 0xffff
move_target:
    .long 0
    .word 0
    .quad 0, 0

    .org SECTORS * 512
