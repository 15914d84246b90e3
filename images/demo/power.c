/*
 * The ways out: ACPI soft-off and the ACPI timer through the PIIX4's power management ports,
 * the reset control register, and the debug exit port.
 * References: Intel 82371AB (PIIX4) data sheet, chapter 7; ACPI 6, section 4.8.3.2 (PM1_CNT).
 */
#include "power.h"

#include "io.h"
#include "pci.h"

enum {
    PIIX4_PM = 0x71138086,
    PMBASE = 0x40,
    PMREGMISC = 0x80,
    PM_IO_ENABLE = 1,
    PM1A_CNT = 4,
    PM_TMR = 8,
    SLEEP_TYPE_S5 = 0 << 10, /* the PIIX4's own encoding of soft-off */
    SLEEP_ENABLE = 1 << 13,
    RESET_CONTROL = 0xCF9,
    DEBUG_EXIT = 0xF4,
};

/* The base of the power management ports, or 0. */
static uint16_t power_base(void)
{
    struct pci_address at;
    uint32_t enabled;

    if (!pci_find(PCI_ID, 0xFFFFFFFF, PIIX4_PM, &at))
        return 0;
    enabled = pci_read(at, PMREGMISC) & PM_IO_ENABLE;
    return enabled ? (uint16_t)(pci_read(at, PMBASE) & 0xFFC0) : 0;
}

void power_off(void)
{
    uint16_t base = power_base();

    if (base)
        out16((uint16_t)(base + PM1A_CNT), SLEEP_TYPE_S5 | SLEEP_ENABLE);
}

void power_reset(void)
{
    out8(RESET_CONTROL, 2);
    out8(RESET_CONTROL, 6);
}

void power_exit(uint8_t value) { out8(DEBUG_EXIT, value); }

bool power_timer(uint32_t *count)
{
    uint16_t base = power_base();

    if (base)
        *count = in32((uint16_t)(base + PM_TMR));
    return base != 0;
}
