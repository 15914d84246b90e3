/*
 * Exceptions and interrupts: the IDT, the two 8259A interrupt controllers (IRQ n at vector 32 + n),
 * and who gets called for which line.
 * References: Intel SDM volume 3, chapter 6; Intel 8259A data sheet.
 */
#include "trap.h"

#include "console.h"
#include "io.h"
#include "keyboard.h"
#include "serial.h"
#include "timer.h"

enum { MASTER = 0x20, SLAVE = 0xA0, END_OF_INTERRUPT = 0x20, READ_ISR = 0x0B };
enum { IRQ_BASE = 32, IRQS = 16, VECTORS = IRQ_BASE + IRQS, HANDLERS = 4 };

struct gate {
    uint16_t offset_low, selector;
    uint16_t type;
    uint16_t offset_high;
};

extern char trap_stubs[];

volatile struct expected_trap expected;
static struct gate idt[VECTORS];
static uint16_t mask = 0xFFFF & ~(1 << 2);
static void (*handlers[IRQS][HANDLERS])(void);

static void load_idt(const void *table, uint16_t limit)
{
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {limit, (uint32_t)table};

    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void write_masks(void)
{
    out8(MASTER + 1, (uint8_t)mask);
    out8(SLAVE + 1, (uint8_t)(mask >> 8));
}

static void init_controllers(void)
{
    out8(MASTER, 0x11); /* ICW1: edge triggered, cascade, ICW4 follows */
    out8(SLAVE, 0x11);
    out8(MASTER + 1, IRQ_BASE);
    out8(SLAVE + 1, IRQ_BASE + 8);
    out8(MASTER + 1, 1 << 2); /* the slave hangs on line 2 */
    out8(SLAVE + 1, 2);
    out8(MASTER + 1, 1); /* ICW4: 8086 mode */
    out8(SLAVE + 1, 1);
    write_masks();
}

void trap_init(void)
{
    for (unsigned i = 0; i < VECTORS; i++) {
        uint32_t stub = (uint32_t)trap_stubs + 16 * i;
        idt[i] = (struct gate){(uint16_t)stub, 8, 0x8E00, (uint16_t)(stub >> 16)};
    }
    load_idt(idt, sizeof idt - 1);
    init_controllers();
}

void irq_enable(unsigned irq)
{
    mask &= (uint16_t)~(1 << irq);
    write_masks();
}

void irq_attach(unsigned irq, void (*handler)(void))
{
    for (unsigned i = 0; i < HANDLERS; i++)
        if (!handlers[irq][i] || handlers[irq][i] == handler) {
            handlers[irq][i] = handler;
            irq_enable(irq);
            return;
        }
}

/* Lines 7 and 15 also fire when a request goes away: then their in-service bit is clear. */
static bool spurious(unsigned irq)
{
    uint16_t controller = irq < 8 ? MASTER : SLAVE;

    if (irq != 7 && irq != 15)
        return false;
    out8(controller, READ_ISR);
    if (in8(controller) & 0x80)
        return false;
    if (irq == 15)
        out8(MASTER, END_OF_INTERRUPT);
    return true;
}

static void interrupt(unsigned irq)
{
    if (spurious(irq))
        return;
    if (irq == 0)
        timer_interrupt();
    else if (irq == 1)
        keyboard_interrupt();
    else if (irq == 4)
        serial_interrupt();
    for (unsigned i = 0; i < HANDLERS && handlers[irq][i]; i++)
        handlers[irq][i]();
    if (irq >= 8)
        out8(SLAVE, END_OF_INTERRUPT);
    out8(MASTER, END_OF_INTERRUPT);
}

static uint32_t read_cr2(void)
{
    uint32_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

__attribute__((noreturn)) static void unexpected_exception(const struct trap_frame *frame)
{
    print_in(RED, "\nexception %u, error code %x, at %08x\n", frame->vector, frame->error,
             frame->eip);
    print("eax %08x ebx %08x ecx %08x edx %08x\n", frame->eax, frame->ebx, frame->ecx, frame->edx);
    print("esi %08x edi %08x ebp %08x cr2 %08x\n", frame->esi, frame->edi, frame->ebp, read_cr2());
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* Called by entry.S. */
void trap(struct trap_frame *frame)
{
    if (frame->vector >= IRQ_BASE) {
        interrupt(frame->vector - IRQ_BASE);
        return;
    }
    if (!expected.resume)
        unexpected_exception(frame);
    expected.vector = frame->vector;
    expected.error = frame->error;
    expected.cr2 = read_cr2();
    frame->eip = expected.resume;
    expected.resume = 0;
}

void triple_fault(void)
{
    interrupts_off();
    load_idt(0, 0);
    __asm__ volatile("int3");
    __builtin_unreachable();
}
