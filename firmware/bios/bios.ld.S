/* Places the sections as layout.h draws them. Run through the C preprocessor. */
#include "layout.h"

OUTPUT_FORMAT(elf32-i386)
OUTPUT_ARCH(i386)
ENTRY(reset_vector)

bda = 0;                        /* offset 0 of the segment that FS holds */

SECTIONS
{
    .rings RING_BASE : AT(RING_BASE) {
        BYTE(0)
        . = RING_END - RING_BASE;
    }

    .post POST_BASE : AT(POST_BASE) {
        *(.post.text .post.data)
        *post-all.o(.text* .rodata* .data*)
    }
    ASSERT(. <= RUNTIME_BASE, "POST is too large")

    .post_bss POST_BSS_BASE (NOLOAD) : {
        post_bss = .;
        *post-all.o(.bss* COMMON)
        . = ALIGN(4);
        post_bss_end = .;
    }
    ASSERT(. <= POST_BSS_END, "POST's variables are too large")

    /* Addresses from here are offsets in the runtime segment; offset 0 stays unused, for NULL. */
    .runtime_data 0x10 : AT(RUNTIME_BASE + 0x10) {
        *runtime-all.o(.data* .bss* COMMON)
        . = ALIGN(4);
        LONG(0)
    }
    ASSERT(. <= RUNTIME_STACK_TOP - RUNTIME_STACK_SIZE, "no room for the runtime's stack")

    .runtime RUNTIME_CODE_OFFSET : AT(RUNTIME_BASE + RUNTIME_CODE_OFFSET) {
        *(.runtime.text .runtime.rodata)
        *runtime-all.o(.text* .rodata*)
    }
    ASSERT(. <= TABLES_BASE - RUNTIME_BASE, "the runtime is too large")

    .reset RESET_BASE : AT(RESET_BASE) {
        *(.reset)
    }
    ASSERT(. <= FIXED_BASE, "the reset code is too large")

    .fixed FIXED_BASE : AT(FIXED_BASE) {
        *(.fixed)
        . = 0x1ff0;
        *(.reset.vector)
        . = 0x2000;
    }

    .nothing : {
        *(.text .data .bss .got .got.plt .iplt .igot.plt .rel.*)
    }
    ASSERT(SIZEOF(.nothing) == 0, "a section without a place")

    /DISCARD/ : { *(.comment) *(.note*) *(.eh_frame*) }
}
