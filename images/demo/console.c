/* Output to the screen and the serial line at once, and formatting for it. */
#include "console.h"

#include <stdarg.h>

#include "serial.h"
#include "text.h"

void console_put(char character)
{
    screen_put(character);
    if (character == '\n')
        serial_put('\r');
    serial_put(character);
}

struct field {
    unsigned width;
    bool zeros, left;
};

static void put_field(const char *text, const struct field *field)
{
    size_t length = strlen(text);
    char fill = field->zeros ? '0' : ' ';
    size_t padding = field->width > length ? field->width - length : 0;

    for (size_t i = 0; i < padding && !field->left; i++)
        console_put(fill);
    while (*text)
        console_put(*text++);
    for (size_t i = 0; i < padding && field->left; i++)
        console_put(' ');
}

static const char *hexadecimal(uint64_t value, char *end)
{
    *--end = 0;
    do
        *--end = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    return end;
}

static const char *decimal(uint32_t value, char *end)
{
    *--end = 0;
    do
        *--end = (char)('0' + value % 10);
    while (value /= 10);
    return end;
}

static const char *parse_field(const char *format, struct field *field)
{
    *field = (struct field){0};
    for (;; format++) {
        if (*format == '0')
            field->zeros = true;
        else if (*format == '-')
            field->left = true;
        else
            break;
    }
    for (; *format >= '0' && *format <= '9'; format++)
        field->width = field->width * 10 + (unsigned)(*format - '0');
    return format;
}

static void print_list(const char *format, va_list list)
{
    char digits[24], *end = digits + sizeof digits;
    struct field field;

    for (; *format; format++) {
        if (*format != '%') {
            console_put(*format);
            continue;
        }
        format = parse_field(format + 1, &field);
        switch (*format) {
        case 's':
            put_field(va_arg(list, const char *), &field);
            break;
        case 'c':
            console_put((char)va_arg(list, int));
            break;
        case 'd': {
            int value = va_arg(list, int);
            if (value < 0)
                console_put('-');
            put_field(decimal(value < 0 ? 0U - (unsigned)value : (unsigned)value, end), &field);
            break;
        }
        case 'u':
            put_field(decimal(va_arg(list, unsigned), end), &field);
            break;
        case 'x':
            put_field(hexadecimal(va_arg(list, unsigned), end), &field);
            break;
        case 'l': /* the one long form here is %llx */
            format += 2;
            put_field(hexadecimal(va_arg(list, uint64_t), end), &field);
            break;
        default:
            console_put(*format);
        }
    }
}

void print(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    print_list(format, list);
    va_end(list);
}

void print_in(enum colour colour, const char *format, ...)
{
    va_list list;

    screen_set_colour(colour);
    va_start(list, format);
    print_list(format, list);
    va_end(list);
    screen_set_colour(GREY);
}
