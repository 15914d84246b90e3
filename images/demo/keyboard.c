/*
 * The PS/2 keyboard behind the i8042, in scan code set 1 (the controller translates). US layout;
 * no lock keys, no extended keys but Enter and slash of the key pad, which share their codes.
 */
#include "keyboard.h"

#include "input.h"
#include "io.h"
#include "trap.h"

enum {
    DATA = 0x60,
    STATUS = 0x64,
    COMMAND = 0x64,
    OUTPUT_FULL = 1,
    INPUT_FULL = 2,
    READ_CONFIG = 0x20,
    WRITE_CONFIG = 0x60,
    CONFIG_IRQ1 = 0x01,
    CONFIG_DISABLE_KEYBOARD = 0x10,
    CONFIG_TRANSLATE = 0x40,
    ECHO = 0xEE,
};

/* Indexed by scan code. */
static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] =
    "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

static bool shift;

static void send(uint16_t port, uint8_t value)
{
    for (unsigned i = 0; i < 100000 && in8(STATUS) & INPUT_FULL; i++)
        ;
    out8(port, value);
}

/* The next byte from the controller, or -1 if none comes. */
static int receive(void)
{
    for (unsigned i = 0; i < 100000; i++)
        if (in8(STATUS) & OUTPUT_FULL)
            return in8(DATA);
    return -1;
}

static void drain(void)
{
    for (unsigned i = 0; i < 64 && in8(STATUS) & OUTPUT_FULL; i++)
        in8(DATA);
}

void keyboard_init(void)
{
    int config;

    drain();
    send(COMMAND, READ_CONFIG);
    config = receive();
    if (config < 0)
        return;
    send(COMMAND, WRITE_CONFIG);
    send(DATA, (uint8_t)((config | CONFIG_IRQ1 | CONFIG_TRANSLATE) & ~CONFIG_DISABLE_KEYBOARD));
    irq_enable(1);
}

void keyboard_interrupt(void)
{
    uint8_t code = in8(DATA);
    uint8_t key = code & 0x7F;
    char character = 0;

    if (key == 0x2A || key == 0x36) {
        shift = !(code & 0x80);
        return;
    }
    if (!(code & 0x80) && key < sizeof plain - 1)
        character = shift ? shifted[key] : plain[key];
    if (character)
        input_push(character);
}

bool keyboard_check(void)
{
    int answer;

    interrupts_off();
    drain();
    send(DATA, ECHO);
    answer = receive();
    interrupts_on();
    return answer == ECHO;
}
