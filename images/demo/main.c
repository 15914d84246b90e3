/* The order in which things start, and the banner. */
#include "console.h"
#include "crc32.h"
#include "disk.h"
#include "fw_cfg.h"
#include "io.h"
#include "keyboard.h"
#include "memory_map.h"
#include "serial.h"
#include "shell.h"
#include "timer.h"
#include "trap.h"

static void banner(void)
{
    print_in(YELLOW, "\n      /)     (\\\n");
    print_in(YELLOW, "     (  o   o  )");
    print_in(WHITE, "      C O W B O X\n");
    print_in(YELLOW, "  .---\\       /---.");
    print("   the demo guest, alone on a PC in 32-bit protected mode\n");
    print_in(YELLOW, "  |    ( o o )    |\n");
    print_in(YELLOW, "  |     `---'     |");
    print("   memory  %u KiB\n", memory_usable());
    print_in(YELLOW, "  |               |");
    print("   disks   %u\n", disk_count());
    print_in(YELLOW, "  '---------------'");
    print("   type ");
    print_in(CYAN, "help");
    print("\n\n");
}

/* Called by entry.S. */
void kernel_main(void)
{
    trap_init();
    screen_init();
    serial_init();
    timer_init();
    keyboard_init();
    interrupts_on();
    crc32_init();
    disk_init();
    banner();
    if (fw_cfg_has("opt/cowbox/selftest"))
        shell_selftest();
    shell();
}
