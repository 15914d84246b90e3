/* What POST says: to the debug port 402h from the start, to the screen once a VGA BIOS is there. */
#include "post.h"

enum { DEBUG_PORT = 0x402, LINE_SIZE = 128 };

extern char screen_text[LINE_SIZE];
extern const u8 print_text[];

static bool have_screen;
static u32 length;

void screen_on(void)
{
    have_screen = true;
}

static void flush(void)
{
    if (have_screen && length) {
        (&RUNTIME(screen_text[0]))[length] = 0;
        struct real_call call = {
            .ds = RUNTIME_SEGMENT,
            .esi = RUNTIME_OFFSET(screen_text),
        };
        real_far_call(RUNTIME_SEGMENT, RUNTIME_OFFSET(print_text), &call);
    }
    length = 0;
}

static void put(char character)
{
    outb(DEBUG_PORT, character);
    if (length >= LINE_SIZE - 2)
        flush();
    char *line = &RUNTIME(screen_text[0]);
    if (character == '\n')
        line[length++] = '\r';
    line[length++] = character;
}

static void put_number(u32 value, u32 base, u32 width)
{
    char digits[10];
    u32 count = 0;
    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    for (; width > count; width--)
        put('0');
    while (count)
        put(digits[--count]);
}

void say(const char *format, ...)
{
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        u32 width = 0;
        while (*++format >= '0' && *format <= '9')
            width = width * 10 + *format - '0';
        if (*format == 's') {
            for (const char *text = __builtin_va_arg(arguments, const char *); *text; text++)
                put(*text);
        } else if (*format == 'c') {
            put(__builtin_va_arg(arguments, int));
        } else {
            put_number(__builtin_va_arg(arguments, u32), *format == 'x' ? 16 : 10, width);
        }
    }
    __builtin_va_end(arguments);
    flush();
}
