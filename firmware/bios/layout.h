/*
 * Where everything of the BIOS stands in the 128 KiB below 1 MiB; shared by C, assembly and the
 * linker script.
 *
 *   E0000  rings     two legacy virtqueues (written at run time)
 *   E6000  POST      32-bit code and data, used once
 *   EC000  data      variables and stack of the runtime services (written at run time)
 *   F0000  runtime   16-bit code and constants of the interrupt services
 *   FC000  tables    RSDP, SMBIOS anchor, MP and $PIR tables, found by scanning
 *   FDC00  reset     from the reset vector to POST
 *   FE000  fixed     entry points at the addresses of the IBM PC, reset vector
 *
 * The runtime is one 64 KiB segment EC00: CS = DS = ES = SS, so that a C pointer is a near
 * pointer. Its first 16 KiB are RAM, the rest is made read-only when POST has ended.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#define ROM_BASE 0xe0000
#define ROM_SIZE 0x20000
/* The same ROM ends at 4 GiB too: add this to an address of the lower copy. */
#define ROM_HIGH_OFFSET 0xfff00000

#define RING_BASE 0xe0000
#define RING_END 0xe6000
#define POST_BASE 0xe6000
#define RUNTIME_SEGMENT 0xec00
#define RUNTIME_BASE 0xec000
#define RUNTIME_CODE_OFFSET 0x4000
#define RUNTIME_STACK_TOP 0x4000
#define RUNTIME_STACK_SIZE 0x0800
#define TABLES_BASE 0xfc000
#define TABLES_END 0xfdc00
#define RESET_BASE 0xfdc00
#define FIXED_BASE 0xfe000
#define FIXED_SEGMENT 0xf000

/* Low RAM that POST borrows before a boot sector is loaded at 0x7c00. */
#define POST_STACK_TOP 0x7000
#define REAL_STACK_TOP 0x7c00
#define POST_BSS_BASE 0x10000
#define POST_BSS_END 0x20000

#define BDA_SEGMENT 0x0040
#define EBDA_SEGMENT 0x9fc0
#define BASE_MEMORY_KIB 639

/* Selectors of POST's descriptor table (reset.S). */
#define CODE32 0x08
#define DATA32 0x10
#define CODE16 0x18
#define DATA16 0x20

/* The i440FX PMC as configuration addresses: PAM0 is the byte 0x59, PAM6 the byte 0x5f. */
#define HOST_BRIDGE_ID 0x80000000
#define HOST_BRIDGE_PAM0 0x80000058
#define HOST_BRIDGE_PAM3 0x8000005c
#define I440FX_ID 0x12378086
/* PAM0 (F0000-FFFFF) and PAM5, PAM6 (E0000-EFFFF) readable and writable, for POST to stand on; the
   others wait until a ROM at C0000 has been looked for (option_rom.c). */
#define PAM_LOW_POST 0x00003000
#define PAM_HIGH_POST 0x33330000
#define PAM_LOW_RW 0x33333000
#define PAM_HIGH_RW 0x33333333
/* As POST leaves it. PAM5 (E0000-E7FFF) stays writable for the rings; PAM6: E8000-EBFFF is
   read-only, EC000-EFFFF writable. C0000-C7FFF (PAM1, PAM2 low) hold the VGA BIOS. */
#define PAM_LOW_FINAL 0x33111000
#define PAM_HIGH_FINAL 0x31333333

#endif
