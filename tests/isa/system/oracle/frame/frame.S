// The frame around the checks of one concept (CHECKS): `check` starts one in 32-bit protected mode,
// `check_64` in 64-bit mode (long.S), `check_16` in real mode (real.S).
//
// A check starts with everything at its default: flat segments of ring 0, the stack at RING0_TOP,
// GDT, IDT and TSS as below, paging off, general registers zero. It ends with the first exception
// or interrupt, or at `done` with vector FINISHED. Either is one line:
//
//   name: vector cs flags ss:esp [stack] ds es fs gs tr cr2 dr6 eax ebx ecx edx mem ...
//
// cs, flags and ss:esp are those of the handler; the stack is what lies between ESP and the end of
// its page, a word each; mem is eight bytes that the check named with `watch`.

#include "layout.S"
#include "macros.S"
#include "macros_64.S"

    .code32
    .text
start:
    .org 0x10                   // 0 is no offset that a check means
#include "print.S"
#include "reset.S"
#include "trap.S"
#include "long.S"
#include "real.S"
#include "restart.S"
#include "apic.S"

main:
    movl $ENGINE_TOP, %esp
    call start_serial
    say "start\n"
    call checks
    say "end\n"
1:  hlt
    jmp 1b

checks:
    popl return
#include CHECKS
    jmp *return

    .balign 4
return: .long 0

#include "boot.S"
