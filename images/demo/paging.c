/*
 * A check of 32-bit paging: the first 4 MiB stay where they are by a large page, and a page table
 * at WINDOW maps one page to write through, one that is not present and one that is read-only.
 * Reference: Intel SDM volume 3, sections 4.3 (32-bit paging), 4.7 (page faults), 4.8 (A/D flags).
 */
#include "paging.h"

#include <stdint.h>

#include "trap.h"

enum { PRESENT = 1, WRITABLE = 2, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80 };
enum { PAGE_FAULT = 14, FAULT_PRESENT = 1, FAULT_WRITE = 2 };

#define WINDOW 0x40000000U
#define CR0_PG 0x80000000U
#define CR0_WP 0x00010000U
#define CR4_PSE 0x00000010U

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static volatile uint32_t page[1024] __attribute__((aligned(4096)));

static void turn_on(void)
{
    uint32_t cr0, cr4;

    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_PSE));
    __asm__ volatile("mov %0, %%cr3" : : "r"(directory));
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | CR0_PG | CR0_WP) : "memory");
}

static void turn_off(void)
{
    uint32_t cr0;

    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 & ~(CR0_PG | CR0_WP)) : "memory");
}

static bool faulted(uint32_t address, uint32_t error)
{
    bool right = expected.vector == PAGE_FAULT && expected.cr2 == address &&
                 expected.error == error;

    expected.vector = NO_VECTOR;
    return right;
}

bool paging_check(void)
{
    volatile uint32_t *window = (volatile uint32_t *)WINDOW;
    bool missing, read_only, mapped;

    directory[0] = PRESENT | WRITABLE | LARGE;
    directory[WINDOW >> 22] = (uint32_t)table | PRESENT | WRITABLE;
    table[0] = (uint32_t)page | PRESENT | WRITABLE;
    table[2] = (uint32_t)page | PRESENT;
    turn_on();
    window[5] = 0xC0B0C0B0;
    mapped = page[5] == 0xC0B0C0B0 && window[2 * 1024 + 5] == 0xC0B0C0B0;
    TRY("movl %%eax, 0x40001234");
    missing = faulted(WINDOW + 0x1234, FAULT_WRITE);
    TRY("movl %%eax, 0x40002FFC");
    read_only = faulted(WINDOW + 0x2FFC, FAULT_PRESENT | FAULT_WRITE);
    turn_off();
    return mapped && missing && read_only && (table[0] & (ACCESSED | DIRTY)) == (ACCESSED | DIRTY) &&
           (table[2] & (ACCESSED | DIRTY)) == ACCESSED;
}
