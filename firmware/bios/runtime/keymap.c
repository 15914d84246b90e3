/*
 * The US keyboard (IBM PS/2 BIOS Interface Technical Reference, keyboard scan codes): four planes
 * of the main keys, the function keys, the keypad, and the grey keys that send E0 first.
 */
#include "keymap.h"

/* Rows by first scan code; 0 is a key without a character. */
static const char base[] = "\0\33" "1234567890-=\b\t"
    "qwertyuiop[]\r\0" "asdfghjkl;'`\0\\" "zxcvbnm,./\0*\0 ";
static const char shift[] = "\0\33" "!@#$%^&*()_+\b\0"
    "QWERTYUIOP{}\r\0" "ASDFGHJKL:\"~\0|" "ZXCVBNM<>?\0*\0 ";

enum {
    FIRST_FUNCTION = 0x3b,
    LAST_FUNCTION = 0x44,
    FIRST_KEYPAD = 0x47,
    LAST_KEYPAD = 0x53,
    KEY_102 = 0x56,
    KEY_F11 = 0x57,
    KEY_F12 = 0x58,
    KEY_TAB = 0x0f,
    KEY_ENTER = 0x1c,
    KEY_SLASH = 0x35,
    KEY_STAR = 0x37,
    KEY_SPACE = 0x39,
};

/* The keypad 47-53: digits with Num Lock; the scan codes with Ctrl, of the cursor keys. */
static const char keypad_digit[] = "789-456+1230.";
static const u8 keypad_ctrl[] = {
    0x77, 0x8d, 0x84, 0x8e, 0x73, 0x8f, 0x74, 0x90, 0x75, 0x91, 0x76, 0x92, 0x93,
};

static u16 pair(u8 scan, u8 character)
{
    return scan << 8 | character;
}

/* Alt moves the function and grey keys up; the offsets differ from group to group. */
static u16 function_key(u8 code, enum key_plane plane)
{
    static const u8 first[] = {0x3b, 0x54, 0x5e, 0x68};
    static const u8 eleventh[] = {0x85, 0x87, 0x89, 0x8b};
    if (code >= KEY_F11)
        return pair(eleventh[plane] + code - KEY_F11, 0);
    return pair(first[plane] + code - FIRST_FUNCTION, 0);
}

static u16 grey_key(u8 code, enum key_plane plane)
{
    if (code == KEY_ENTER || code == KEY_SLASH) {
        if (plane == PLANE_ALT)
            return pair(code == KEY_ENTER ? 0xa6 : 0xa4, 0);
        if (plane == PLANE_CTRL)
            return code == KEY_ENTER ? pair(0xe0, '\n') : pair(0x95, 0);
        return pair(0xe0, code == KEY_ENTER ? '\r' : '/');
    }
    if (code == KEY_STAR) /* Print Screen */
        return plane == PLANE_CTRL ? pair(0x72, 0) : NO_KEY;
    if (code < FIRST_KEYPAD || code > LAST_KEYPAD)
        return NO_KEY;
    if (plane == PLANE_ALT)
        return pair(code + 0x50, 0);
    if (plane == PLANE_CTRL)
        return pair(keypad_ctrl[code - FIRST_KEYPAD], 0xe0);
    return pair(code, 0xe0);
}

static u16 keypad_key(u8 code, enum key_plane plane, bool num_lock)
{
    u8 index = code - FIRST_KEYPAD;
    bool sign = code == 0x4a || code == 0x4e;
    if (plane == PLANE_ALT)
        return sign ? pair(code, 0) : NO_KEY;
    if (plane == PLANE_CTRL)
        return pair(keypad_ctrl[index], 0);
    if (sign || num_lock != (plane == PLANE_SHIFT))
        return pair(code, keypad_digit[index]);
    return pair(code, code == 0x4c ? 0xf0 : 0);
}

static bool is_letter(char character)
{
    return character >= 'a' && character <= 'z';
}

static u16 ctrl_key(u8 code, char character)
{
    if (is_letter(character))
        return pair(code, character & 0x1f);
    switch (character) {
    case '2':
        return pair(code, 0);
    case '6':
        return pair(code, 0x1e);
    case '-':
        return pair(code, 0x1f);
    case '[':
    case '\\':
    case ']':
        return pair(code, character & 0x1f);
    case '\b':
        return pair(code, 0x7f);
    case '\r':
        return pair(code, '\n');
    case '\t':
        return pair(0x94, 0);
    case '*':
        return pair(0x96, 0);
    case ' ':
    case '\33':
        return pair(code, character);
    default:
        return NO_KEY;
    }
}

static u16 alt_key(u8 code)
{
    if (code == KEY_SPACE)
        return pair(code, ' ');
    if (code == KEY_TAB)
        return pair(0xa5, 0);
    if (code >= 0x02 && code <= 0x0d) /* the top row */
        return pair(code + 0x76, 0);
    return pair(code, 0);
}

static u16 main_key(u8 code, enum key_plane plane, bool caps_lock)
{
    char character = base[code];
    if (character == 0)
        return NO_KEY;
    if (plane == PLANE_CTRL)
        return ctrl_key(code, character);
    if (plane == PLANE_ALT)
        return alt_key(code);
    bool shifted = (plane == PLANE_SHIFT) != (caps_lock && is_letter(character));
    return pair(code, shifted ? shift[code] : character);
}

u16 keymap_lookup(u8 code, enum key_plane plane, bool extended, bool caps_lock, bool num_lock)
{
    if (extended)
        return grey_key(code, plane);
    if (code == KEY_F11 || code == KEY_F12 || (code >= FIRST_FUNCTION && code <= LAST_FUNCTION))
        return function_key(code, plane);
    if (code >= FIRST_KEYPAD && code <= LAST_KEYPAD)
        return keypad_key(code, plane, num_lock);
    if (code == KEY_102)
        return pair(code, plane == PLANE_SHIFT ? '|' : '\\');
    if (code < sizeof(base) - 1)
        return main_key(code, plane, caps_lock);
    return NO_KEY;
}
