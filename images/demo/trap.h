/* Exceptions and interrupts. */
#ifndef TRAP_H
#define TRAP_H

#include <stdbool.h>
#include <stdint.h>

/* What entry.S leaves on the stack, lowest address first. */
struct trap_frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags;
};

/* An exception taken on purpose: TRY sets `resume`, the handler the rest. */
struct expected_trap {
    uint32_t resume, vector, error, cr2;
};
extern volatile struct expected_trap expected;

/* Runs one instruction that raises an exception, and goes on behind it. */
#define TRY(instruction)                                                                           \
    __asm__ volatile("movl $1f, %0\n\t" instruction "\n1:"                                         \
                     : "=m"(expected.resume)                                                       \
                     :                                                                             \
                     : "eax", "ecx", "edx", "cc", "memory")

enum { NO_VECTOR = 0xFFFFFFFF };

void trap_init(void);

/* Opens one line of the interrupt controllers. */
void irq_enable(unsigned irq);

/* `handler` runs for PCI interrupts on `irq`, which it may share with others. */
void irq_attach(unsigned irq, void (*handler)(void));

/* An empty IDT and an exception: the processor has nowhere to go and shuts down. */
__attribute__((noreturn)) void triple_fault(void);

#endif
