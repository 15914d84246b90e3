/*
 * POST's own interfaces: 32-bit flat code that runs once, from the reset vector to INT 19h. It
 * writes the runtime's variables where they lie (`runtime_address`) and calls real-mode code by
 * `real_interrupt` and `real_far_call`.
 */
#ifndef POST_H
#define POST_H

#include "../bda.h"
#include "../io.h"
#include "../layout.h"
#include "../pci_config.h"
#include "../real_call.h"

void *memcpy(void *to, const void *from, u32 size);
void *memset(void *to, int value, u32 size);
int memcmp(const void *a, const void *b, u32 size);
u32 text_length(const char *text);
bool text_equal(const char *a, const char *b);
bool text_starts(const char *text, const char *start);
u8 checksum(const void *from, u32 size);

/* A variable of the 16-bit runtime, whose symbols are offsets in its segment, seen from here. */
#define RUNTIME(variable)                                                                          \
    (*(typeof(&(variable)))(RUNTIME_BASE + (u32) & (variable)))
/* The same for a symbol of code or a table: its offset in the segment. */
#define RUNTIME_OFFSET(symbol) ((u16)(u32)(symbol))

#define BDA (*(volatile struct bda *)(BDA_SEGMENT << 4))

/* console.c: %s %c %u %x and %0Nx; to the debug port, and to the screen once there is one. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void screen_on(void);

/* real_mode.c */
void real_interrupt(u8 number, struct real_call *call);
void real_far_call(u16 segment, u16 offset, struct real_call *call);

/* memory.c */
struct memory_size {
    u32 low;                    /* bytes of RAM from 0, below the PCI hole */
    u64 high;                   /* bytes of RAM from 4 GiB */
};
extern struct memory_size memory;
void memory_detect(void);
void *allocate_high(u32 size, u32 alignment);
void *allocate_table(u32 size, u32 alignment);
void memory_map_build(void);

/* fw_cfg.c */
struct fw_file {
    u32 size;
    u16 selector;
    char name[56];
};
void fw_cfg_detect(void);
bool fw_cfg_find(const char *name, struct fw_file *file);
bool fw_cfg_next(u32 *position, struct fw_file *file);
void fw_cfg_read(u16 selector, void *to, u32 size);
bool fw_cfg_write(u16 selector, u32 offset, const void *from, u32 size);
u32 fw_cfg_processors(void);

/* platform.c */
void platform_init(void);
void vectors_init(void);
void keyboard_init(void);
void ports_detect(void);

/* processor.c */
#define CPUID_APIC (1 << 9)
void processor_init(void);
u32 processor_features(u32 *signature);

/* pci.c */
#define PCI_FUNCTIONS 256
void pci_assign(void);
bool pci_next(pci_address *address);
bool pci_find_class(u16 class, pci_address *address);
u32 pci_bar_memory(pci_address address, u8 bar);
u8 pci_interrupt_line(pci_address address);

/* option_rom.c */
void video_rom_start(void);
void option_roms_start(void);

/* Tables. */
void pir_table_build(void);
void mp_table_build(void);
void smbios_build(void);
void acpi_load(void);

/* Disks. */
void ata_detect(void);
void virtio_detect(void);
void drives_finish(void);
struct drive;
struct drive *drive_add(void);
void drive_set_geometry(struct drive *drive, u16 cylinders, u16 heads, u16 sectors_per_track);
void drive_name(const struct drive *drive, char *text);

/* boot_order.c */
void boot_order_apply(void);

#endif
