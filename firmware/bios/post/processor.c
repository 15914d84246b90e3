/*
 * The boot processor: memory types and the local APIC (Intel SDM 3A, 10 and 11.11).
 *
 * RAM is write-back, the VGA window and the PCI hole are uncached, so that an operating system
 * finds the map it expects; the APIC passes the 8259's interrupts (virtual wire). The other
 * processors are left waiting for their start-up message.
 */
#include "post.h"

enum { CPUID_MTRR = 1 << 12, CPUID_MSR = 1 << 5 };
enum {
    MSR_MTRR_CAP = 0xfe, MSR_MTRR_BASE0 = 0x200, MSR_MTRR_MASK0 = 0x201, MSR_MTRR_DEFAULT = 0x2ff,
};
enum {
    UNCACHED = 0, WRITE_BACK = 6, MASK_VALID = 0x800, MTRR_ENABLE = 0x800, FIXED_ENABLE = 0x400,
};
enum { CAP_FIXED = 0x100 };
enum { APIC_BASE = 0xfee00000, APIC_SPURIOUS = 0xf0, APIC_LINT0 = 0x350, APIC_LINT1 = 0x360 };

static void write_msr(u32 index, u64 value)
{
    asm volatile("wrmsr" : : "c"(index), "A"(value));
}

static u64 read_msr(u32 index)
{
    u64 value;
    asm volatile("rdmsr" : "=A"(value) : "c"(index));
    return value;
}

static void cpuid(u32 leaf, u32 *a, u32 *d)
{
    u32 b, c;
    asm volatile("cpuid" : "=a"(*a), "=b"(b), "=c"(c), "=d"(*d) : "a"(leaf), "c"(0));
}

static bool has_cpuid(void)
{
    u32 before, after;
    asm volatile("pushfl\n\tpushfl\n\tpopl %0\n\tmovl %0, %1\n\txorl $0x200000, %1\n\t"
                 "pushl %1\n\tpopfl\n\tpushfl\n\tpopl %1\n\tpopfl"
                 : "=&r"(before), "=&r"(after));
    return (before ^ after) & 0x200000;
}

static u64 physical_mask(void)
{
    u32 highest, width, d;
    cpuid(0x80000000, &highest, &d);
    if (highest < 0x80000008)
        return 0xfffffffff; /* 36 bits */
    cpuid(0x80000008, &width, &d);
    return ((u64)1 << (width & 0xff)) - 1;
}

static void fixed_ranges(void)
{
    static const struct {
        u16 msr;
        u8 type;
    } ranges[] = {
        {0x250, WRITE_BACK}, {0x258, WRITE_BACK}, {0x259, UNCACHED},   {0x268, WRITE_BACK},
        {0x269, WRITE_BACK}, {0x26a, WRITE_BACK}, {0x26b, WRITE_BACK}, {0x26c, WRITE_BACK},
        {0x26d, WRITE_BACK}, {0x26e, WRITE_BACK}, {0x26f, WRITE_BACK},
    };
    for (u32 i = 0; i < COUNT(ranges); i++) {
        u32 four = ranges[i].type * 0x01010101u;
        write_msr(ranges[i].msr, (u64)four << 32 | four);
    }
}

/* One variable range, from 3 GiB or 3.5 GiB to 4 GiB uncached; all else write-back. */
static void memory_types(void)
{
    u64 cap = read_msr(MSR_MTRR_CAP);
    u32 hole = memory.low > 0xc0000000 ? 0xe0000000 : 0xc0000000;
    write_msr(MSR_MTRR_DEFAULT, 0);
    if (cap & CAP_FIXED)
        fixed_ranges();
    for (u32 i = 0; i < (cap & 0xff); i++)
        write_msr(MSR_MTRR_MASK0 + 2 * i, 0);
    if (cap & 0xff) {
        write_msr(MSR_MTRR_BASE0, hole | UNCACHED);
        write_msr(MSR_MTRR_MASK0, (physical_mask() & ~(u64)0xffffffff) | hole | MASK_VALID);
    }
    write_msr(MSR_MTRR_DEFAULT, MTRR_ENABLE | (cap & CAP_FIXED ? FIXED_ENABLE : 0) | WRITE_BACK);
}

static void virtual_wire(void)
{
    volatile u32 *apic = (volatile u32 *)APIC_BASE;
    apic[APIC_SPURIOUS / 4] = 0x1ff;
    apic[APIC_LINT0 / 4] = 0x700;
    apic[APIC_LINT1 / 4] = 0x400;
}

/* CPUID leaf 1: EDX, and EAX in *signature; 0 on a processor without it. */
u32 processor_features(u32 *signature)
{
    u32 features;
    *signature = 0;
    if (!has_cpuid())
        return 0;
    cpuid(1, signature, &features);
    return features;
}

void processor_init(void)
{
    u32 signature, features = processor_features(&signature);
    if ((features & (CPUID_MSR | CPUID_MTRR)) == (CPUID_MSR | CPUID_MTRR))
        memory_types();
    if (features & CPUID_APIC)
        virtual_wire();
}
