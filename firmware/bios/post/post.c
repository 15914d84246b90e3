/*
 * POST: the order in which the machine comes up. Each step is a file of its own; what it found, it
 * says. Not done, on purpose: no memory test (the host gave the RAM), no system management mode,
 * no setup screen.
 */
#include "post.h"

void post(void)
{
    say("Cowbox BIOS\n");
    fw_cfg_detect();
    memory_detect();
    platform_init();
    vectors_init();
    processor_init();
    pci_assign();
    video_rom_start();
    say("Memory: %u MiB, %u processor%s\n", memory.low / 1048576 + (u32)(memory.high >> 20),
        fw_cfg_processors(), fw_cfg_processors() == 1 ? "" : "s");
    keyboard_init();
    ports_detect();
    pir_table_build();
    mp_table_build();
    smbios_build();
    acpi_load();
    ata_detect();
    virtio_detect();
    boot_order_apply();
    drives_finish();
    option_roms_start();
    memory_map_build();
    pci_write32(0, 0x58, (pci_read32(0, 0x58) & 0xff) | PAM_LOW_FINAL);
    pci_write32(0, 0x5c, PAM_HIGH_FINAL);
    struct real_call boot = {0};
    real_interrupt(0x19, &boot);
    say("INT 19h returned\n");
}
