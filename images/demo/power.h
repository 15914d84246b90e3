/* The ways out of the guest. */
#ifndef POWER_H
#define POWER_H

#include <stdbool.h>
#include <stdint.h>

/* ACPI soft-off; returns if the machine stays on. */
void power_off(void);

/* Reset by port CF9h; returns if the machine goes on. */
void power_reset(void);

/* QEMU's isa-debug-exit device: the emulator ends with status value * 2 + 1. */
void power_exit(uint8_t value);

/* The ACPI timer, 3.579545 MHz; false if there is none. */
bool power_timer(uint32_t *count);

#endif
