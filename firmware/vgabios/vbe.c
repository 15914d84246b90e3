/*
 * VESA BIOS Extensions 2.0 on the Bochs display interface (ports 1CEh and 1CFh; Bochs, "VBE Display
 * HOWTO"): packed modes of 8, 16 and 32 bits, by linear frame buffer or by a bank of 64 KiB at
 * A000. An adapter without that interface answers "not supported", and stays a plain VGA.
 */
#include "../bios/pci_config.h"
#include "vga.h"

enum { DISPI_INDEX = 0x1ce, DISPI_DATA = 0x1cf };
enum {
    DISPI_ID = 0,
    DISPI_WIDTH = 1,
    DISPI_HEIGHT = 2,
    DISPI_BITS = 3,
    DISPI_ENABLE = 4,
    DISPI_BANK = 5,
    DISPI_VIRTUAL_WIDTH = 6,
    DISPI_X = 8,
    DISPI_Y = 9,
    DISPI_MEMORY_64K = 10,
};
enum { ENABLED = 0x01, EIGHT_BIT_DAC = 0x20, LINEAR_BUFFER = 0x40, KEEP_MEMORY = 0x80 };
enum { MODE_KEEP = 0x8000, MODE_LINEAR = 0x4000, MODE_NUMBER = 0x01ff };
enum { SUCCESS = 0x004f, FAILED = 0x014f, NOT_SUPPORTED = 0x4f };
enum { VGA_ID = 0x11111234, INFO_SIZE = 256, MODE_INFO_SIZE = 256 };
enum { MODES_OFFSET = 0x22, NO_MODE = 0xffff };

struct vbe_mode {
    u16 number, width, height;
    u8 bits;
};

static ROM_DATA struct vbe_mode vbe_modes[] = {
    {0x101, 640, 480, 8},    {0x103, 800, 600, 8},   {0x105, 1024, 768, 8},
    {0x107, 1280, 1024, 8},  {0x111, 640, 480, 16},  {0x114, 800, 600, 16},
    {0x117, 1024, 768, 16},  {0x11a, 1280, 1024, 16}, {0x112, 640, 480, 32},
    {0x115, 800, 600, 32},   {0x118, 1024, 768, 32}, {0x11b, 1280, 1024, 32},
};

static ROM_DATA char product[] = "Cowbox VGA BIOS";

static u16 dispi_read(u16 index)
{
    outw(DISPI_INDEX, index);
    return inw(DISPI_DATA);
}

static void dispi_write(u16 index, u16 value)
{
    outw(DISPI_INDEX, index);
    outw(DISPI_DATA, value);
}

bool vbe_present(void)
{
    return (dispi_read(DISPI_ID) & 0xfff0) == 0xb0c0;
}

void vbe_disable(void)
{
    if (vbe_present())
        dispi_write(DISPI_ENABLE, 0);
}

static u32 memory_64k(void)
{
    return dispi_read(DISPI_MEMORY_64K);
}

static u16 line_bytes(const ROM struct vbe_mode *mode)
{
    return mode->width * (mode->bits / 8);
}

static const ROM struct vbe_mode *find_vbe_mode(u16 number)
{
    for (u32 i = 0; i < COUNT(vbe_modes); i++) {
        const ROM struct vbe_mode *mode = &vbe_modes[i];
        if (mode->number == number && (u32)line_bytes(mode) * mode->height <= memory_64k() << 16)
            return mode;
    }
    return NULL;
}

/* The linear frame buffer is the first BAR of the display, which may have been moved. */
static u32 frame_buffer(void)
{
    for (pci_address address = 0; address < 0x100; address += 8) {
        if (pci_read32(address, PCI_VENDOR) == VGA_ID)
            return pci_read32(address, PCI_BAR0) & ~15;
    }
    return 0;
}

static u16 rom_segment(void)
{
    u16 segment;
    asm("movw %%cs, %0" : "=r"(segment));
    return segment;
}

/* 00h: ES:DI gets what the adapter is; the list of modes stands in the same block. */
static u16 controller_information(const struct registers *r)
{
    u16 segment = r->es, at = r->di, list = at + MODES_OFFSET;
    fill_bytes(segment, at, 0, INFO_SIZE);
    far_write32(segment, at, 0x41534556); /* "VESA" */
    far_write16(segment, at + 0x04, 0x0200);
    far_write16(segment, at + 0x06, (u32)product);
    far_write16(segment, at + 0x08, rom_segment());
    far_write32(segment, at + 0x0a, 1); /* the DAC can be switched to 8 bits */
    far_write16(segment, at + 0x0e, list);
    far_write16(segment, at + 0x10, segment);
    far_write16(segment, at + 0x12, memory_64k());
    for (u32 i = 0; i < COUNT(vbe_modes); i++) {
        u16 number = vbe_modes[i].number;
        if (find_vbe_mode(number)) {
            far_write16(segment, list, number);
            list += 2;
        }
    }
    far_write16(segment, list, NO_MODE);
    return SUCCESS;
}

/* Size and position of red, green, blue and the rest, for 16 and 32 bits. */
static ROM_DATA u8 colours_16[8] = {5, 11, 6, 5, 5, 0, 0, 0};
static ROM_DATA u8 colours_32[8] = {8, 16, 8, 8, 8, 0, 8, 24};

/* 01h: CX's mode to ES:DI. */
static u16 mode_information(const struct registers *r)
{
    const ROM struct vbe_mode *mode = find_vbe_mode(r->cx & MODE_NUMBER);
    u16 segment = r->es, at = r->di;
    if (!mode)
        return FAILED;
    fill_bytes(segment, at, 0, MODE_INFO_SIZE);
    far_write16(segment, at, 0x00bb);        /* supported, colour, graphics, linear, no VGA */
    far_write8(segment, at + 0x02, 0x07);    /* window A: exists, read, write */
    far_write16(segment, at + 0x04, 64);     /* KiB of granularity and size */
    far_write16(segment, at + 0x06, 64);
    far_write16(segment, at + 0x08, 0xa000);
    far_write16(segment, at + 0x10, line_bytes(mode));
    far_write16(segment, at + 0x12, mode->width);
    far_write16(segment, at + 0x14, mode->height);
    far_write8(segment, at + 0x16, 8);
    far_write8(segment, at + 0x17, 16);
    far_write8(segment, at + 0x18, 1);
    far_write8(segment, at + 0x19, mode->bits);
    far_write8(segment, at + 0x1a, 1);
    far_write8(segment, at + 0x1b, mode->bits == 8 ? 4 : 6); /* packed pixels, direct colour */
    far_write8(segment, at + 0x1e, 1);
    for (u8 i = 0; mode->bits > 8 && i < 8; i++)
        far_write8(segment, at + 0x1f + i, mode->bits == 16 ? colours_16[i] : colours_32[i]);
    far_write32(segment, at + 0x28, frame_buffer());
    return SUCCESS;
}

/* 02h: BX's mode; numbers below 100h are the standard ones. */
static u16 set_vbe_mode(const struct registers *r)
{
    u16 number = r->bx & MODE_NUMBER;
    if (number < 0x100) {
        if (!find_mode(number))
            return FAILED;
        set_mode(number | (r->bx & MODE_KEEP ? 0x80 : 0));
        return SUCCESS;
    }
    const ROM struct vbe_mode *mode = find_vbe_mode(number);
    if (!mode)
        return FAILED;
    set_mode(0x13); /* a graphics state of the VGA to start from, and its palette */
    dispi_write(DISPI_ENABLE, 0);
    dispi_write(DISPI_WIDTH, mode->width);
    dispi_write(DISPI_HEIGHT, mode->height);
    dispi_write(DISPI_BITS, mode->bits);
    dispi_write(DISPI_ENABLE, ENABLED | (r->bx & MODE_LINEAR ? LINEAR_BUFFER : 0) |
                                  (r->bx & MODE_KEEP ? KEEP_MEMORY : 0));
    bda.video_mode = number; /* the low byte; no standard mode has it */
    return SUCCESS;
}

/* 03h: found again by what the adapter shows. */
static u16 current_vbe_mode(struct registers *r)
{
    u16 enabled = dispi_read(DISPI_ENABLE);
    r->bx = bda.video_mode;
    if (!(enabled & ENABLED))
        return SUCCESS;
    u16 width = dispi_read(DISPI_WIDTH), height = dispi_read(DISPI_HEIGHT);
    u16 bits = dispi_read(DISPI_BITS);
    for (u32 i = 0; i < COUNT(vbe_modes); i++) {
        if (vbe_modes[i].width == width && vbe_modes[i].height == height &&
            vbe_modes[i].bits == bits)
            r->bx = vbe_modes[i].number | (enabled & LINEAR_BUFFER ? MODE_LINEAR : 0);
    }
    return SUCCESS;
}

/* 05h: BH 0 sets, 1 gets; BL: the window; DX: in units of 64 KiB. */
static u16 window_control(struct registers *r)
{
    if (r->bl != 0 || r->bh > 1)
        return FAILED;
    if (r->bh == 1)
        r->dx = dispi_read(DISPI_BANK);
    else if (r->dx < memory_64k())
        dispi_write(DISPI_BANK, r->dx);
    else
        return FAILED;
    return SUCCESS;
}

/* 06h: lines of CX pixels (BL 0), or what they are (BL 1). */
static u16 line_length(struct registers *r)
{
    if (r->bl > 1)
        return FAILED;
    if (r->bl == 0)
        dispi_write(DISPI_VIRTUAL_WIDTH, r->cx);
    u16 bytes = dispi_read(DISPI_BITS) / 8;
    r->cx = dispi_read(DISPI_VIRTUAL_WIDTH);
    r->bx = r->cx * bytes;
    u32 lines = r->bx ? (memory_64k() << 16) / r->bx : 0;
    r->dx = lines < 0xffff ? lines : 0xffff;
    return SUCCESS;
}

/* 07h: the first pixel shown. */
static u16 display_start(struct registers *r)
{
    if ((r->bl & 0x7f) > 1)
        return FAILED;
    if (r->bl == 1) {
        r->cx = dispi_read(DISPI_X);
        r->dx = dispi_read(DISPI_Y);
    } else {
        dispi_write(DISPI_X, r->cx);
        dispi_write(DISPI_Y, r->dx);
    }
    return SUCCESS;
}

/* 08h: bits of a palette entry's component: 8 or 6. */
static u16 palette_width(struct registers *r)
{
    u16 enabled = dispi_read(DISPI_ENABLE);
    if (r->bl > 1)
        return FAILED;
    if (r->bl == 0) {
        enabled = r->bh >= 8 ? enabled | EIGHT_BIT_DAC : enabled & ~EIGHT_BIT_DAC;
        dispi_write(DISPI_ENABLE, enabled | KEEP_MEMORY);
    }
    r->bh = enabled & EIGHT_BIT_DAC ? 8 : 6;
    return SUCCESS;
}

static u16 dispatch(struct registers *r)
{
    switch (r->al) {
    case 0x00:
        return controller_information(r);
    case 0x01:
        return mode_information(r);
    case 0x02:
        return set_vbe_mode(r);
    case 0x03:
        return current_vbe_mode(r);
    case 0x05:
        return window_control(r);
    case 0x06:
        return line_length(r);
    case 0x07:
        return display_start(r);
    case 0x08:
        return palette_width(r);
    default:
        return 0x0100; /* AL other than 4Fh: no such function */
    }
}

void vbe_function(struct registers *r)
{
    r->ax = vbe_present() ? dispatch(r) : 0x0100;
}
