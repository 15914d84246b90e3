# The boot sector: fetches the kernel with INT 13h extensions, asks the BIOS for the memory map,
# opens the A20 gate and enters the kernel in 32-bit protected mode.
#
# Loaded by the BIOS at 0000:7C00 with the boot drive in DL. Leaves at 0x500 a `struct boot_info`
# (memory_map.h). Leaves out disks without INT 13h extensions: it says so and stops.
# References: BIOS Enhanced Disk Drive specification (EDD-3) 41h, 42h; ACPI 6 section 15 (E820).

#include "layout.h"

    .code16
    .section .text
    .globl  start
start:
    ljmp    $0, $1f                     # some BIOSes enter at 07C0:0000
1:  xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movw    $0x7C00, %sp
    cld
    sti
    movzbl  %dl, %eax
    movl    %eax, BOOT_INFO + 4

    movw    $loading, %si
    call    print

    movb    $0x41, %ah                  # are the extensions there?
    movw    $0x55AA, %bx
    int     $0x13
    movw    $no_extensions, %si
    jc      fail
    cmpw    $0xAA55, %bx
    jne     fail

    movw    $(KERNEL_SECTORS + CHUNK - 1) / CHUNK, %cx
read:
    pushw   %cx
    movw    $packet, %si
    movb    BOOT_INFO + 4, %dl
    movb    $0x42, %ah
    int     $0x13
    movw    $read_error, %si
    jc      fail
    addw    $CHUNK, packet_lba
    addw    $CHUNK * 512 / 16, packet_segment
    popw    %cx
    loop    read

    xorl    %ebx, %ebx                  # memory map: one entry a call, until EBX is 0 again
    movl    %ebx, BOOT_INFO
    movw    $BOOT_INFO + 8, %di
entry:
    movl    $0xE820, %eax
    movl    $24, %ecx
    movl    $0x534D4150, %edx           # "SMAP"
    int     $0x15
    jc      done
    cmpl    $0x534D4150, %eax
    jne     done
    incl    BOOT_INFO
    addw    $24, %di
    testl   %ebx, %ebx
    jz      done
    cmpl    $E820_ENTRIES, BOOT_INFO
    jb      entry
done:
    movw    $0x2401, %ax                # A20: the BIOS call, then port 92h for BIOSes without it
    int     $0x15
    inb     $0x92, %al
    orb     $2, %al
    andb    $0xFE, %al
    outb    %al, $0x92

    cli
    lgdt    gdt_pointer
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $8, $KERNEL_ADDRESS

fail:
    call    print
1:  hlt
    jmp     1b

# Prints the string at SI.
print:
    lodsb
    testb   %al, %al
    jz      1f
    movb    $0x0E, %ah
    movw    $7, %bx
    int     $0x10
    jmp     print
1:  ret

loading:
    .asciz  "Cowbox demo guest: loading\r\n"
no_extensions:
    .asciz  "The BIOS has no INT 13h extensions\r\n"
read_error:
    .asciz  "Cannot read the boot disk\r\n"

    .balign 4
packet:                                 # EDD disk address packet
    .byte   16, 0
    .word   CHUNK
    .word   0
packet_segment:
    .word   KERNEL_ADDRESS / 16
packet_lba:
    .quad   KERNEL_LBA

    .balign 8
gdt:
    .quad   0
    .quad   0x00CF9A000000FFFF          # 08: code, base 0, limit 4 GiB
    .quad   0x00CF92000000FFFF          # 10: data, base 0, limit 4 GiB
gdt_pointer:
    .word   . - gdt - 1
    .long   gdt

    .org    446                         # partition table: the scratch area, and nothing else
    .byte   0, 0xFE, 0xFF, 0xFF, SCRATCH_TYPE, 0xFE, 0xFF, 0xFF
    .long   SCRATCH_LBA, DISK_SECTORS - SCRATCH_LBA
    .org    510
    .word   0xAA55
