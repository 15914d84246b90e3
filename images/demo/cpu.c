/* What the processor says about itself: CPUID (AMD APM volume 3, appendix E). */
#include "cpu.h"

#include <stdint.h>

#include "console.h"
#include "text.h"

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

static struct leaf cpuid(uint32_t function)
{
    struct leaf leaf;

    __asm__ volatile("cpuid"
                     : "=a"(leaf.eax), "=b"(leaf.ebx), "=c"(leaf.ecx), "=d"(leaf.edx)
                     : "a"(function), "c"(0));
    return leaf;
}

/* Names by bit number; a null pointer where this list has none. */
static const char *const edx_1[32] = {
    "fpu", "vme",   "de", "pse", "tsc", "msr",   "pae",  "mce",  "cx8", "apic", 0,
    "sep", "mtrr",  "pge", "mca", "cmov", "pat", "pse36", 0,     "clflush", 0,  0,
    0,     "mmx",   "fxsr", "sse", "sse2", 0,    "htt"};
static const char *const ecx_1[32] = {
    "sse3", "pclmulqdq", 0, "monitor", 0,        0,        0, 0,       0, "ssse3",  0,     0,
    "fma",  "cx16",      0, 0,         0,        0,        0, "sse4.1", "sse4.2", "x2apic", "movbe",
    "popcnt", 0,         "aes", "xsave", "osxsave", "avx", "f16c", "rdrand", "hypervisor"};
static const char *const edx_8[32] = {[11] = "syscall", [20] = "nx",     [26] = "1gpages",
                                      [27] = "rdtscp",  [29] = "lm"};

static void show_features(uint32_t bits, const char *const names[32])
{
    for (unsigned i = 0; i < 32; i++)
        if (bits & 1U << i && names[i])
            print(" %s", names[i]);
}

void cpu_vendor(char vendor[13])
{
    struct leaf leaf = cpuid(0);

    memcpy(vendor, &leaf.ebx, 4);
    memcpy(vendor + 4, &leaf.edx, 4);
    memcpy(vendor + 8, &leaf.ecx, 4);
    vendor[12] = 0;
}

static void show_brand(void)
{
    struct leaf brand[4] = {0};

    for (uint32_t i = 0; i < 3; i++)
        brand[i] = cpuid(0x80000002 + i);
    print("%s\n", (const char *)brand);
}

void cpu_show(void)
{
    char vendor[13];
    struct leaf one = cpuid(1);
    uint32_t last_extended = cpuid(0x80000000).eax;
    uint32_t family = one.eax >> 8 & 15, model = one.eax >> 4 & 15;

    if (family == 6 || family == 15)
        model |= one.eax >> 12 & 0xF0;
    if (family == 15)
        family += one.eax >> 20 & 0xFF;
    cpu_vendor(vendor);
    print("%s, family %u, model %u, stepping %u\n", vendor, family, model, one.eax & 15);
    if (last_extended >= 0x80000004)
        show_brand();
    print("features:");
    show_features(one.edx, edx_1);
    show_features(one.ecx, ecx_1);
    if (last_extended >= 0x80000001)
        show_features(cpuid(0x80000001).edx, edx_8);
    print("\n");
}
