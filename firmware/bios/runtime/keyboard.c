/*
 * The keyboard: IRQ 1 turns scan codes (set 1, as the 8042 translates them) into the key buffer of
 * the data area; INT 16h takes them out. IBM PS/2 BIOS Interface Technical Reference, US layout.
 *
 * Pause does not stop the machine: the key is swallowed.
 */
#include "keymap.h"
#include "runtime.h"

enum {
    RIGHT_SHIFT = 0x01,
    LEFT_SHIFT = 0x02,
    CTRL = 0x04,
    ALT = 0x08,
    SCROLL_LOCK = 0x10,
    NUM_LOCK = 0x20,
    CAPS_LOCK = 0x40,
    INSERT = 0x80,
};

/* bda.shift_keys: the left keys, and what is held down. */
enum { LEFT_CTRL = 0x01, LEFT_ALT = 0x02 };
/* bda.key_mode: prefixes seen, the right keys, a 101-key keyboard. */
enum { PREFIX_E1 = 0x01, PREFIX_E0 = 0x02, RIGHT_CTRL = 0x04, RIGHT_ALT = 0x08, KEYS_101 = 0x10 };

enum {
    SCAN_CTRL = 0x1d,
    SCAN_LEFT_SHIFT = 0x2a,
    SCAN_RIGHT_SHIFT = 0x36,
    SCAN_PRINT_SCREEN = 0x37,
    SCAN_ALT = 0x38,
    SCAN_CAPS_LOCK = 0x3a,
    SCAN_NUM_LOCK = 0x45,
    SCAN_SCROLL_LOCK = 0x46,
    SCAN_HOME = 0x47,
    SCAN_INSERT = 0x52,
    SCAN_DELETE = 0x53,
    RELEASED = 0x80,
};

enum { INT_NONE = 0, INT_PRINT_SCREEN = 0x05, INT_BREAK = 0x1b };

static u16 next_slot(u16 slot)
{
    slot += 2;
    return slot >= bda.key_buffer_end ? bda.key_buffer_start : slot;
}

static bool store_key(u16 key)
{
    u16 tail = bda.key_tail, next = next_slot(tail);
    if (next == bda.key_head)
        return false;
    far_write_u16(BDA_SEGMENT, tail, key);
    bda.key_tail = next;
    return true;
}

static bool buffer_empty(void)
{
    return bda.key_head == bda.key_tail;
}

static void set_bits(volatile u8 __seg_fs *where, u8 bits, bool on)
{
    *where = on ? *where | bits : *where & ~bits;
}

static bool wait_controller(u8 mask, u8 wanted)
{
    for (u16 tries = 0; tries < 50000; tries++) {
        if ((inb(0x64) & mask) == wanted)
            return true;
    }
    return false;
}

/* Sends the lock keys' lights when they have changed; the acknowledgements are read here. */
static void update_leds(void)
{
    u8 leds = bda.shift_flags >> 4 & 7;
    if ((bda.key_leds & 7) == leds)
        return;
    bda.key_leds = (bda.key_leds & ~7) | leds;
    const u8 bytes[2] = {0xed, leds};
    for (u8 i = 0; i < 2; i++) {
        if (!wait_controller(2, 0))
            return;
        outb(0x60, bytes[i]);
        if (!wait_controller(1, 1))
            return;
        inb(0x60);
    }
}

/* Ctrl and Alt are down while either key of the pair is. */
static void modifier(u8 flag, u8 left_bit, u8 right_bit, bool extended, bool down)
{
    if (extended)
        set_bits(&bda.key_mode, right_bit, down);
    else
        set_bits(&bda.shift_keys, left_bit, down);
    set_bits(&bda.shift_flags, flag, bda.shift_keys & left_bit || bda.key_mode & right_bit);
}

/* A lock key toggles when it goes down, not while it repeats. */
static void lock_key(u8 flag, bool down)
{
    if (down && !(bda.shift_keys & flag))
        bda.shift_flags ^= flag;
    set_bits(&bda.shift_keys, flag, down);
}

static void alt_released(void)
{
    u8 character = bda.alt_digits;
    bda.alt_digits = 0;
    if (character)
        store_key(character);
}

/* True if the key only changes the keyboard's state. */
static bool shift_key(u8 code, bool extended, bool down)
{
    switch (code) {
    case SCAN_LEFT_SHIFT:
    case SCAN_RIGHT_SHIFT:
        if (!extended) /* E0 2A and E0 36 are shifts that the keyboard makes up */
            set_bits(&bda.shift_flags, code == SCAN_LEFT_SHIFT ? LEFT_SHIFT : RIGHT_SHIFT, down);
        return true;
    case SCAN_CTRL:
        modifier(CTRL, LEFT_CTRL, RIGHT_CTRL, extended, down);
        return true;
    case SCAN_ALT:
        modifier(ALT, LEFT_ALT, RIGHT_ALT, extended, down);
        if (!(bda.shift_flags & ALT))
            alt_released();
        return true;
    case SCAN_CAPS_LOCK:
        lock_key(CAPS_LOCK, down);
        return true;
    case SCAN_NUM_LOCK:
        lock_key(NUM_LOCK, down);
        return true;
    case SCAN_SCROLL_LOCK:
        if (extended || bda.shift_flags & CTRL)
            return false;
        lock_key(SCROLL_LOCK, down);
        return true;
    default:
        return false;
    }
}

static u8 special_key(u8 code, bool extended)
{
    u8 shifts = bda.shift_flags;
    if (code == SCAN_DELETE && (shifts & (CTRL | ALT)) == (CTRL | ALT)) {
        bda.reset_flag = 0x1234;
        outb(0xcf9, 0x02);
        outb(0xcf9, 0x06);
    }
    if (code == SCAN_PRINT_SCREEN && (extended || shifts & (LEFT_SHIFT | RIGHT_SHIFT)) &&
        !(shifts & (CTRL | ALT)))
        return INT_PRINT_SCREEN;
    if (code == SCAN_SCROLL_LOCK && shifts & CTRL) {
        bda.key_head = bda.key_tail = bda.key_buffer_start;
        bda.break_flag |= 0x80;
        store_key(0x0000);
        return INT_BREAK;
    }
    return INT_NONE;
}

/* Alt with the keypad's digits enters a character by its number. */
static bool alt_digit(u8 code)
{
    static const s8 digits[] = {7, 8, 9, -1, 4, 5, 6, -1, 1, 2, 3, 0};
    if (code < SCAN_HOME || code > SCAN_INSERT || digits[code - SCAN_HOME] < 0)
        return false;
    bda.alt_digits = bda.alt_digits * 10 + digits[code - SCAN_HOME];
    return true;
}

static void ordinary_key(u8 code, bool extended)
{
    u8 shifts = bda.shift_flags;
    if (shifts & ALT && !extended && alt_digit(code))
        return;
    if (code == SCAN_INSERT && !(shifts & (ALT | CTRL)))
        bda.shift_flags ^= INSERT;
    bool shifted = shifts & (LEFT_SHIFT | RIGHT_SHIFT);
    enum key_plane plane = shifts & ALT ? PLANE_ALT
                           : shifts & CTRL ? PLANE_CTRL
                           : shifted ? PLANE_SHIFT
                                     : PLANE_BASE;
    u16 key = keymap_lookup(code, plane, extended, shifts & CAPS_LOCK, shifts & NUM_LOCK);
    if (key != NO_KEY)
        store_key(key);
}

/* AL: the scan code. AH returns the interrupt that interrupts.S then raises. */
u8 keyboard_scan_code(struct registers *r)
{
    u8 scan = r->al, mode = bda.key_mode;
    r->ah = INT_NONE;
    if (scan == 0xe0 || scan == 0xe1) {
        bda.key_mode = mode | (scan == 0xe0 ? PREFIX_E0 : PREFIX_E1);
        return DONE;
    }
    if (mode & PREFIX_E1) { /* Pause: E1 1D 45 E1 9D C5 */
        if ((scan & 0x7f) == SCAN_NUM_LOCK)
            bda.key_mode = mode & ~PREFIX_E1;
        return DONE;
    }
    bda.key_mode = mode & ~PREFIX_E0;
    bool extended = mode & PREFIX_E0, down = !(scan & RELEASED);
    u8 code = scan & 0x7f;
    if (!shift_key(code, extended, down) && down) {
        r->ah = special_key(code, extended);
        if (r->ah == INT_NONE)
            ordinary_key(code, extended);
    }
    update_leds();
    return DONE;
}

/* What INT 16h AH=00h and 01h hand out: keys of the 83-key keyboard only. */
static bool reduce_to_83_keys(u16 *key)
{
    u8 scan = *key >> 8, character = *key;
    if (scan == 0xe0) { /* keypad Enter and slash */
        *key = (character == '/' ? 0x3500 : 0x1c00) | character;
        return true;
    }
    if (character == 0xe0 && scan != 0)
        *key &= 0xff00;
    return scan <= 0x84;
}

/* Looks at the next key; the older functions drop those they do not know. */
static bool peek_key(u16 *key, bool all)
{
    while (!buffer_empty()) {
        *key = far_read_u16(BDA_SEGMENT, bda.key_head);
        if (all || reduce_to_83_keys(key))
            return true;
        bda.key_head = next_slot(bda.key_head);
    }
    return false;
}

static u8 read_key(struct registers *r, bool all)
{
    u16 key;
    if (!peek_key(&key, all))
        return WAIT;
    bda.key_head = next_slot(bda.key_head);
    r->ax = key;
    return DONE;
}

static u8 check_key(struct registers *r, bool all)
{
    u16 key;
    bool found = peek_key(&key, all);
    set_flag(r, FLAG_ZERO, !found);
    if (found)
        r->ax = key;
    return DONE;
}

/* The second byte of state: the left keys, and the right ones of bda.key_mode. */
static u8 extended_state(void)
{
    u8 keys = bda.shift_keys, right = bda.key_mode;
    return (keys & 0x73) | (right & (RIGHT_CTRL | RIGHT_ALT));
}

u8 int16(struct registers *r)
{
    switch (r->ah) {
    case 0x00:
        return read_key(r, false);
    case 0x01:
        return check_key(r, false);
    case 0x02:
        r->al = bda.shift_flags;
        return DONE;
    case 0x05:
        r->al = !store_key(r->cx);
        return DONE;
    case 0x09: /* what is there: 10h-12h */
        r->al = 0x20;
        return DONE;
    case 0x10:
        return read_key(r, true);
    case 0x11:
        return check_key(r, true);
    case 0x12:
        r->al = bda.shift_flags;
        r->ah = extended_state();
        return DONE;
    default:
        return DONE;
    }
}
