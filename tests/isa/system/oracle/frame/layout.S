// Where things are in memory, the selectors of the GDT, and the bits that checks name.

    .set COM1, 0x3F8

// MARK holds MARKED while checks run: the CPU that starts again then has gone through a reset.
    .set MARK, 0x3F00
    .set MARKED, 0x544C4148

// Physical and, where paging is on, linear addresses alike.
    .set STACKS, 0x4000  // 16 KiB, zero at the start of each check
    .set RING0_TOP, 0x5000  // where each check starts
    .set INNER0_TOP, 0x6000  // TSS: what an interrupt from an outer ring gets
    .set INNER1_TOP, 0x7000
    .set INNER2_TOP, 0x7800
    .set RING3_TOP, 0x8000
    .set IST1_TOP, 0x7000  // TSS of long mode
    .set IST2_TOP, 0x6F08
    .set GDT, 0x8000
    .set LDT, 0x8800
    .set IDT, 0x9000  // up to 4 KiB, in long mode
    .set TSS, 0xA000
    .set TSS2, 0xA400  // a second task, 32-bit
    .set TSS16, 0xA800  // tasks of 16 bits
    .set TSS16_2, 0xAC00
    .set ENGINE_TOP, 0xC000  // the stack of the frame itself
    .set SCRATCH, 0xC000  // 4 KiB for a check's data, zero at its start
    .set CODE_BYTES, 0xD000  // 4 KiB for code that a check writes
    .set CODE, 0x10000  // the image, copied from the ROM
    .set CODE_SEGMENT, CODE >> 4  // its first 64 KiB in real mode
    .set TABLES, 0x100000  // page tables
    .set PML4, TABLES  // of long mode, where entries 1, 255, 256 and 511 lead to
    .set PDPT, TABLES + 0x3000
    .set PD, TABLES + 0x4000
    .set PT, TABLES + 0x5000
    .set PAGE, 0x200000  // 2 MiB of pages to test with, each a page of its own

// Selectors of the GDT's first entries; a check may use SPARE and what follows.
    .set CODE0, 0x08
    .set DATA0, 0x10
    .set CODE1, 0x19
    .set DATA1, 0x21
    .set CODE2, 0x2A
    .set DATA2, 0x32
    .set CODE3, 0x3B
    .set DATA3, 0x43
    .set TASK, 0x48  // the task that runs; two entries, as in long mode
    .set TASK2, 0x58
    .set TASK16, 0x60
    .set TASK16_2, 0x68
    .set LOCAL, 0x70  // the LDT
    .set CODE0_16, 0x78
    .set DATA0_16, 0x80
    .set CODE3_16, 0x8B
    .set DATA3_16, 0x93
    .set CODE0_64, 0x98
    .set CODE3_64, 0xA3
    .set SPARE, 0xA8  // free from here to the limit
    .set GDT_LIMIT, 0xFF
    .set LDT_LIMIT, 0x3F

    .set TF, 0x100
    .set IF, 0x200
    .set NT, 0x4000
    .set RF, 0x10000
    .set VM, 0x20000
    .set AC, 0x40000
    .set VIF, 0x80000
    .set VIP, 0x100000
    .set ID, 0x200000
    .set IOPL1, 0x1000
    .set IOPL2, 0x2000
    .set IOPL3, 0x3000

    .set CR0_PE, 0x1
    .set CR0_MP, 0x2
    .set CR0_EM, 0x4
    .set CR0_TS, 0x8
    .set CR0_NE, 0x20
    .set CR0_WP, 0x10000
    .set CR0_AM, 0x40000
    .set CR0_PG, 0x80000000
    .set CR4_VME, 0x1
    .set CR4_PVI, 0x2
    .set CR4_TSD, 0x4
    .set CR4_DE, 0x8
    .set CR4_PSE, 0x10
    .set CR4_PAE, 0x20
    .set CR4_PGE, 0x80
    .set CR4_OSFXSR, 0x200
    .set CR4_UMIP, 0x800
    .set CR4_FSGSBASE, 0x10000
    .set CR4_PCIDE, 0x20000
    .set CR4_SMEP, 0x100000
    .set CR4_SMAP, 0x200000

    .set EFER, 0xC0000080
    .set EFER_SCE, 0x1
    .set EFER_LME, 0x100
    .set EFER_NXE, 0x800
    .set STAR, 0xC0000081
    .set LSTAR, 0xC0000082
    .set CSTAR, 0xC0000083
    .set SFMASK, 0xC0000084
    .set FS_BASE, 0xC0000100
    .set GS_BASE, 0xC0000101
    .set KERNEL_GS_BASE, 0xC0000102

// Linear addresses of long mode, of pages by tables of their own.
    .set LOW, 0x0000008000000000
    .set LAST, 0x00007FFFFFFFF000  // the last page below those that are not canonical
    .set HOLE, 0x0000800000000000
    .set HIGH, 0xFFFF800000000000
    .set TOP, 0xFFFFFF8000000000

// The vector by which a check ends that has run to its end.
    .set FINISHED, 0x60
