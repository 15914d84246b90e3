/* From a scan code to what the key buffer holds: scan code << 8 | character. */
#ifndef KEYMAP_H
#define KEYMAP_H

#include "../types.h"

enum key_plane { PLANE_BASE, PLANE_SHIFT, PLANE_CTRL, PLANE_ALT };

#define NO_KEY 0xffff

u16 keymap_lookup(u8 code, enum key_plane plane, bool extended, bool caps_lock, bool num_lock);

#endif
