/* The kernel: one flat block at KERNEL_ADDRESS, entered at its first byte. */
#include "layout.h"

ENTRY(entry)
boot_info = BOOT_INFO;
SECTIONS
{
    . = KERNEL_ADDRESS;
    .text : { *entry.o(.text) *(.text .text.*) }
    .rodata : { *(.rodata .rodata.*) }
    .data : { *(.data .data.*) }
    bss_start = .;
    .bss : { *(.bss .bss.*) *(COMMON) }
    bss_end = .;
    ASSERT(bss_end < STACK_TOP - 0x4000, "the kernel runs into its stack")
    /DISCARD/ : { *(.note.*) *(.comment) *(.eh_frame) }
}
