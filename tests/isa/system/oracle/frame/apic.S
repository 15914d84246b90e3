// What checks have interrupts and NMIs come with: the local APIC, and timer 0 of the 8254 through the
// IOAPIC. In 64-bit mode, where only 4 MiB are mapped, `map_apic` maps the local APIC at APIC_64.

    .set APIC, 0xFEE00000
    .set APIC_64, 0x400000
    .set EOI, 0xB0
    .set SPURIOUS, 0xF0         // 1FFh: enabled
    .set IRR, 0x200
    .set ICR, 0x300
    .set LVT_TIMER, 0x320
    .set INITIAL_COUNT, 0x380
    .set DIVIDE, 0x3E0          // 0Bh: by 1
    .set IOAPIC, 0xFEC00000
    .set TIMER_PIN, 2
    .set NMI, 0x400             // as a delivery mode
    .set MASKED, 0x10000
    .set VECTOR, 0x70           // of interrupts

    .code32
// Has the local APIC send itself an interrupt, which is then pending.
pend:
    movl $0, APIC + EOI         // the end of the last one
    movl $0x1FF, APIC + SPURIOUS
    movl $0x40000 | VECTOR, APIC + ICR
1:  testl $1 << (VECTOR % 32), APIC + IRR + VECTOR / 32 * 16
    jz 1b
    ret

// Has the local APIC send itself an NMI. When it comes is left open: `wait_nmi` spins in one place
// until it is there, `no_nmi` spins long enough for one that is held off.
    .macro send_nmi
    movl $0x1FF, APIC + SPURIOUS
    movl $0, APIC + ICR + 0x10
    movl $NMI | 0x4000, APIC + ICR
    .endm
    .macro wait_nmi
7:  jmp 7b
    .endm
    .macro no_nmi
    movl $1000, %ebp
7:  decl %ebp
    jnz 7b
    .endm

// What timer 0 of the 8254 sends when it has counted down; `count` starts it, once, and uses AL.
    .macro route_timer entry
    movl $0x11 + 2 * TIMER_PIN, IOAPIC
    movl $0, IOAPIC + 0x10
    movl $0x10 + 2 * TIMER_PIN, IOAPIC
    movl $\entry, IOAPIC + 0x10
    .endm
    .macro count low, high
    movb $0x30, %al
    outb %al, $0x43
    movb \low, %al
    outb %al, $0x40
    movb \high, %al
    outb %al, $0x40
    .endm

    .macro map_apic
    movl $APIC | 0x97, TABLES + 0x2010
    .endm
