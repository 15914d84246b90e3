// title: page fault
// modes: 32 64
// unit: ns
// work: 1
// aim: 2
//
// A load from a page that is not there; the handler maps it, the loop unmaps it with INVLPG.

#define PAGE 0x600000

row_setup:
    movl $14, %edi
    movl $handler, %esi
    jmp set_gate

row:
1:  movl $0, PTE(PAGE)
    invlpg PAGE
    mov PAGE, A
    dec COUNT
    jnz 1b
    ret

handler:
    movl $PAGE + 7, PTE(PAGE)
    add $WORD, SP_               // the error code
    IRET
