/* Where things stand on the disk and in low memory; read by assembly, C and the linker script. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define DISK_SECTORS 32768   /* 16 MiB */
#define KERNEL_LBA 1         /* the kernel follows the boot sector */
#define CHUNK 32             /* sectors read by one INT 13h call */
#define SCRATCH_LBA 2048     /* partition 1: where the shell may write */
#define SCRATCH_TYPE 0xDA    /* MBR partition type "non-file-system data" */

#define BOOT_INFO 0x500      /* struct boot_info */
#define E820_ENTRIES 64
#define KERNEL_ADDRESS 0x10000
#define STACK_TOP 0x90000
#define SUMS_ADDRESS 0x200000 /* stress keeps one CRC for each scratch sector here */

#endif
