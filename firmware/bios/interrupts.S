/*
 * How an interrupt reaches a C function of the runtime, and how it gets back.
 *
 * The caller's stack may be anywhere and tiny, and its registers are what the service returns.
 * So: push all registers there, copy that block (struct registers, registers.h) to the runtime's
 * own stack, call the handler with a pointer to the copy, copy it back, pop, IRET.
 *
 *   caller's stack                     runtime stack (SS = RUNTIME_SEGMENT)
 *   FLAGS CS IP handler                the same block, FLAGS .. GS
 *   EAX .. EDI DS ES FS GS   <=copy=>  SS:ESP of the caller
 *
 * Handlers run with interrupts off and never nest. A handler that must wait for an interrupt (a
 * key, a tick) returns WAIT: its stack is given up, the CPU halts with interrupts on, and the
 * handler in the block is called again. Interrupt handlers that call out to a vector of the user
 * (INT 1Ch, 1Bh, 4Ah, 15h) do so here, on the interrupted program's stack.
 */
#include "layout.h"
#include "real_call.h"

#define BLOCK_SIZE 52

    .section .runtime.text, "ax"
    .code16

    .macro service name, handler
    .global \name
\name:
    pushl $\handler
    jmp service
    .endm

    service int11_entry, int11
    service int12_entry, int12
    service int13_entry, int13
    service int14_entry, int14
    service int15_entry, int15
    service int16_entry, int16
    service int17_entry, int17
    service int19_entry, int19
    service int18_entry, int18
    service int1a_entry, int1a
    service irq_master_entry, irq_master
    service irq_slave_entry, irq_slave
    service timer_service, timer_tick
    service keyboard_service, keyboard_scan_code
    service clock_service, clock_interrupt

service:
    pushal
    pushw %ds
    pushw %es
    pushw %fs
    pushw %gs
    subw $2, %sp                # to a multiple of 4
service_again:
    cld
    movw %ss, %dx
    movl %esp, %ebp
    movw %dx, %ds
    movw %bp, %si
    movl $RUNTIME_STACK_TOP, %edi
    cmpw $RUNTIME_SEGMENT, %dx  # called by the runtime itself: go on below its frame
    jne 1f
    movl %ebp, %edi
1:  subw $BLOCK_SIZE, %di
    movw $RUNTIME_SEGMENT, %ax
    movw %ax, %es
    movl %edi, %ebx
    movw $BLOCK_SIZE / 2, %cx
    rep movsw
    movw %ax, %ss
    movl %ebx, %esp
    movw %ax, %ds
    movw $BDA_SEGMENT, %cx
    movw %cx, %fs
    pushl %edx
    pushl %ebp
    movl %ebx, %eax
    calll *40 + 2(%ebx)         # registers.handler
    popl %ebp
    popl %edx
    movw %sp, %si
    movw %dx, %es
    movw %bp, %di
    movw $BLOCK_SIZE / 2, %cx
    rep movsw
    movw %dx, %ss
    movl %ebp, %esp
    testb %al, %al
    jnz service_wait
    addw $2, %sp
    popw %gs
    popw %fs
    popw %es
    popw %ds
    popal
    leal 4(%esp), %esp          # the handler's address
    iretw
service_wait:
    sti
    hlt
    cli
    jmp service_again

/* A service called as an INT instruction would. */
    .macro call_service name
    pushfw
    pushw %cs
    call \name
    .endm

    .macro end_of_interrupt
    movb $0x20, %al
    outb %al, $0x20
    .endm

    .global irq0_entry
irq0_entry:
    call_service timer_service
    int $0x1c
    pushw %ax
    end_of_interrupt
    popw %ax
    iretw

/* The scan code passes through INT 15h/4Fh, which may change it in AL, or clear CF to swallow it.
   The handler returns in AH the interrupt to raise (Print Screen, Ctrl-Break), or 0. */
    .global irq1_entry
irq1_entry:
    pushw %ax
    inb $0x60, %al
    movb $0x4f, %ah
    stc
    int $0x15
    movb $0, %ah
    jnc 1f
    call_service keyboard_service
1:  pushw %ax
    end_of_interrupt
    popw %ax
    cmpb $0x1b, %ah
    jne 2f
    int $0x1b
2:  cmpb $0x05, %ah
    jne 3f
    int $0x05
3:  popw %ax
    iretw

/* The clock's handler returns in AH whether the alarm is due. */
    .global irq8_entry
irq8_entry:
    pushw %ax
    call_service clock_service
    cmpb $0x4a, %ah
    jne 1f
    int $0x4a
1:  movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    popw %ax
    iretw

/* FERR# arrives as IRQ 13; programs of the 8087's time expect an NMI. */
    .global irq13_entry
irq13_entry:
    pushw %ax
    xorb %al, %al
    outb %al, $0xf0
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    popw %ax
    int $0x02
    iretw

    .global ignore_entry, nmi_entry, int05_entry
int05_entry:                    # no printer to print the screen on
nmi_entry:
ignore_entry:
    iretw

    .global restart
restart:
    ljmpw $0xffff, $0

/* Calls real-mode code, an interrupt handler (ends in IRET) or an option ROM (ends in RETF), with
   the registers of real_call (real_call.h), and stores there what it returns. DS = CS. */
    .global far_call
far_call:
    pushal
    pushw %ds
    pushw %es
    pushw %fs
    movw %sp, real_call + REAL_SP
    pushw real_call + REAL_FLAGS
    pushw %cs
    pushw $far_return
    pushl real_call + REAL_TARGET
    movl real_call + REAL_EAX, %eax
    movl real_call + REAL_EBX, %ebx
    movl real_call + REAL_ECX, %ecx
    movl real_call + REAL_EDX, %edx
    movl real_call + REAL_ESI, %esi
    movl real_call + REAL_EDI, %edi
    movl real_call + REAL_EBP, %ebp
    movw real_call + REAL_ES, %es
    movw real_call + REAL_DS, %ds
    lretw
far_return:
    cli
    cld
    pushfw
    pushw %ds
    pushw %cs
    popw %ds
    popw real_call + REAL_DS
    popw real_call + REAL_FLAGS
    movl %eax, real_call + REAL_EAX
    movl %ebx, real_call + REAL_EBX
    movl %ecx, real_call + REAL_ECX
    movl %edx, real_call + REAL_EDX
    movl %esi, real_call + REAL_ESI
    movl %edi, real_call + REAL_EDI
    movl %ebp, real_call + REAL_EBP
    movw %es, real_call + REAL_ES
    movw real_call + REAL_SP, %sp
    popw %fs
    popw %es
    popw %ds
    popal
    retl

/* What POST has the runtime do for it in real mode: DS:SI is a text ending in 0. */
    .global print_text
print_text:
    cld
1:  lodsb
    testb %al, %al
    jz 2f
    movb $0x0e, %ah
    movw $0x0007, %bx
    int $0x10
    jmp 1b
2:  lretw
