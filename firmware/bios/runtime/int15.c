/*
 * INT 15h: the memory map (E820h, ACPI 15.1; E801h, 88h), A20 (24h), moves above 1 MiB (87h), waits
 * (83h, 86h), and what the machine is (C0h, C1h). APM, PS/2 mice and the cassette are not there:
 * AH=86h and CF.
 */
#include "../memory_map.h"
#include "clock.h"
#include "runtime.h"

struct memory_range memory_map[MAX_MEMORY_RANGES];
u16 memory_range_count;
u32 extended_memory_kib;

enum { FUNCTION_NOT_SUPPORTED = 0x86, WAIT_IN_USE = 0x83 };
enum { SMAP = 0x534d4150 };
enum { PORT92_A20 = 0x02, PORT92_RESET = 0x01 };

extern const u8 system_configuration[];

static bool good(struct registers *r)
{
    set_flag(r, FLAG_CARRY, false);
    return true;
}

static bool bad(struct registers *r, u8 status)
{
    r->ah = status;
    set_flag(r, FLAG_CARRY, true);
    return true;
}

static u8 set_a20(bool on)
{
    u8 old = inb(0x92);
    outb(0x92, (on ? old | PORT92_A20 : old & ~PORT92_A20) & ~PORT92_RESET);
    return old & PORT92_A20;
}

static bool a20_function(struct registers *r)
{
    switch (r->al) {
    case 0x00:
    case 0x01:
        set_a20(r->al);
        break;
    case 0x02:
        r->al = inb(0x92) & PORT92_A20 ? 1 : 0;
        break;
    case 0x03:
        r->bx = 3; /* keyboard controller and port 92h */
        break;
    default:
        return bad(r, FUNCTION_NOT_SUPPORTED);
    }
    r->ah = 0;
    return good(r);
}

/* EBX: where to go on; ES:DI: 20 bytes. */
static bool memory_map_entry(struct registers *r)
{
    if (r->edx != SMAP || r->ebx >= memory_range_count || r->ecx < sizeof(struct memory_range))
        return bad(r, FUNCTION_NOT_SUPPORTED);
    far_copy_out(r->es, r->di, &memory_map[r->ebx], sizeof(struct memory_range));
    r->ebx = r->ebx + 1 == memory_range_count ? 0 : r->ebx + 1;
    r->eax = SMAP;
    r->ecx = sizeof(struct memory_range);
    return good(r);
}

/* KiB from 1 to 16 MiB, and 64 KiB blocks above. */
static bool memory_size_e801(struct registers *r)
{
    u32 kib = extended_memory_kib, low_limit = 15 * 1024;
    r->cx = kib < low_limit ? kib : low_limit;
    r->dx = kib < low_limit ? 0 : (kib - low_limit) >> 6;
    r->ax = r->cx;
    r->bx = r->dx;
    return good(r);
}

static bool memory_function(struct registers *r)
{
    if (r->al == 0x20)
        return memory_map_entry(r);
    if (r->al == 0x01)
        return memory_size_e801(r);
    return bad(r, FUNCTION_NOT_SUPPORTED);
}

/* ES:SI: six descriptors, of which 2 is the source and 3 the destination; CX: words. The CPU is in
   protected mode meanwhile, so this is not for virtual-8086 mode, whose monitors do it themselves.
   */
static bool move_block(struct registers *r)
{
    extern void block_move(u32 descriptors, u32 words);
    u32 machine_status;
    asm volatile("smswl %0" : "=r"(machine_status));
    if (machine_status & 1 || r->cx > 0x8000)
        return bad(r, 3);
    u8 a20 = set_a20(true);
    block_move(((u32)r->es << 4) + r->si, r->cx);
    set_a20(a20);
    r->ah = 0;
    return good(r);
}

static u8 wait_continue(struct registers *r)
{
    if (wait_running())
        return WAIT;
    r->ah = 0;
    good(r);
    return DONE;
}

static u8 wait_function(struct registers *r)
{
    u32 us = (u32)r->cx << 16 | r->dx;
    u16 flag = __builtin_offsetof(struct bda, wait_active);
    if (!wait_start(us, BDA_SEGMENT, flag)) {
        bad(r, WAIT_IN_USE);
        return DONE;
    }
    r->handler = (u32)wait_continue;
    return wait_continue(r);
}

static bool event_wait(struct registers *r)
{
    if (r->al == 1) {
        wait_cancel();
    } else {
        far_write_u8(r->es, r->bx, far_read_u8(r->es, r->bx) & 0x7f);
        if (!wait_start((u32)r->cx << 16 | r->dx, r->es, r->bx))
            return bad(r, WAIT_IN_USE);
    }
    r->ah = 0;
    return good(r);
}

static bool other_function(struct registers *r)
{
    switch (r->ah) {
    case 0x24:
        return a20_function(r);
    case 0x4f: /* keyboard intercept: take the key as it is */
        set_flag(r, FLAG_CARRY, true);
        return true;
    case 0x80 ... 0x82: /* device open, close, terminate: for others to hook */
    case 0x85:
    case 0x90 ... 0x91:
        r->ah = 0;
        return good(r);
    case 0x83:
        return event_wait(r);
    case 0x87:
        return move_block(r);
    case 0x88:
        r->ax = extended_memory_kib > 0xffff ? 0xffff : extended_memory_kib;
        return good(r);
    case 0xc0:
        r->es = FIXED_SEGMENT;
        r->bx = (u32)system_configuration & 0xffff;
        r->ah = 0;
        return good(r);
    case 0xc1:
        r->es = bda.ebda_segment;
        return good(r);
    case 0xe8:
        return memory_function(r);
    default:
        return bad(r, FUNCTION_NOT_SUPPORTED);
    }
}

u8 int15(struct registers *r)
{
    if (r->ah == 0x86)
        return wait_function(r);
    other_function(r);
    return DONE;
}
