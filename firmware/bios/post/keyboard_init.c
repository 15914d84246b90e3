/* The keyboard controller (8042): self-tests, translation to set 1 and IRQ 1, keyboard reset. */
#include "../timer.h"
#include "post.h"

enum { DATA = 0x60, STATUS = 0x64 };
enum { OUTPUT_FULL = 1, INPUT_FULL = 2 };
enum { COMMAND_WRITE_MODE = 0x60, COMMAND_DISABLE_AUX = 0xa7, COMMAND_SELF_TEST = 0xaa };
enum { COMMAND_TEST_KEYBOARD = 0xab, COMMAND_DISABLE_KEYBOARD = 0xad };
enum { MODE_IRQ1 = 0x01, MODE_SYSTEM = 0x04, MODE_AUX_OFF = 0x20, MODE_TRANSLATE = 0x40 };
enum { ACKNOWLEDGE = 0xfa, TEST_PASSED = 0xaa, CONTROLLER_PASSED = 0x55 };

static bool write_byte(u16 port, u8 value)
{
    struct timeout timeout = timeout_ms(100);
    while (inb(STATUS) & INPUT_FULL) {
        if (timeout_expired(&timeout))
            return false;
    }
    outb(port, value);
    return true;
}

/* -1 if nothing comes. */
static s32 read_byte(u32 ms)
{
    struct timeout timeout = timeout_ms(ms);
    while (!(inb(STATUS) & OUTPUT_FULL)) {
        if (timeout_expired(&timeout))
            return -1;
    }
    return inb(DATA);
}

static bool expect(u8 command, u8 answer)
{
    return write_byte(STATUS, command) && read_byte(500) == answer;
}

static const char *initialise(void)
{
    write_byte(STATUS, COMMAND_DISABLE_KEYBOARD);
    write_byte(STATUS, COMMAND_DISABLE_AUX);
    while (inb(STATUS) & OUTPUT_FULL)
        inb(DATA);
    if (!expect(COMMAND_SELF_TEST, CONTROLLER_PASSED))
        return "controller does not answer";
    if (!expect(COMMAND_TEST_KEYBOARD, 0))
        return "line test failed";
    u8 mode = MODE_SYSTEM | MODE_AUX_OFF | MODE_TRANSLATE;
    write_byte(STATUS, COMMAND_WRITE_MODE);
    write_byte(DATA, mode);
    write_byte(DATA, 0xff);
    const char *result = NULL;
    if (read_byte(1000) != ACKNOWLEDGE || read_byte(1000) != TEST_PASSED)
        result = "no keyboard";
    write_byte(STATUS, COMMAND_WRITE_MODE);
    write_byte(DATA, mode | MODE_IRQ1);
    return result;
}

void keyboard_init(void)
{
    const char *problem = initialise();
    if (problem)
        say("Keyboard: %s\n", problem);
}
