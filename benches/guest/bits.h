// The words that differ between 16, 32 and 64-bit code, so that a row is written once for all three.
// BITS is 16, 32 or 64, from the command line.

// Where things are (all modes; identity-mapped by 4 KiB pages where paging is on).
#define STACK_TOP 0x7000        // the page below the boot sector: holds no code
#define ROW 0x8000              // the row's code has this page to itself
#define ROW_DATA 0x8C00         // bytes of that page which no row puts code in
#define IDT 0x60000
#define RING0_STACK_TOP 0x6D000 // where the CPU goes on an interrupt from ring 3
#define TSS 0x6E000
#define PAGE_TABLES 0x70000
#define MAPPED_BYTES 0x1000000  // identity-mapped: the first 16 MiB

#define KERNEL_CODE32 0x08
#define KERNEL_DATA 0x10
#define KERNEL_CODE64 0x18
#define USER_BASE 0x28          // SYSRET: +8 is SS, +16 is 64-bit CS
#define USER_CODE32 0x2B
#define USER_DATA 0x33
#define USER_CODE64 0x3B
#define TSS_SELECTOR 0x40

#if BITS == 16
#define A %ax
#define B %bx
#define D %dx
#define S %si
#define T %di
#define COUNT %cx
#define COUNT2 %bp
#define SP_ %sp
#define BP_ %bp
#define WORD 2
#define BUFFER 0xC000           // 16 KiB in segment 0
#define IRET iretw
    .macro row_code
    .code16
    .endm
#elif BITS == 32
#define A %eax
#define B %ebx
#define D %edx
#define S %esi
#define T %edi
#define COUNT %ecx
#define COUNT2 %ebp
#define SP_ %esp
#define BP_ %ebp
#define WORD 4
#define BUFFER 0x200000
#define COPY 0x430000           // not a power of two from BUFFER: no TLB slot in common
#define IRET iretl
#define PTE(address) (PAGE_TABLES + 0x1000 + (address) / 0x1000 * 4)
    .macro row_code
    .code32
    .endm
#elif BITS == 64
#define A %rax
#define B %rbx
#define D %rdx
#define S %rsi
#define T %rdi
#define COUNT %ecx
#define COUNT2 %ebp
#define SP_ %rsp
#define BP_ %rbp
#define WORD 8
#define BUFFER 0x200000
#define COPY 0x430000           // not a power of two from BUFFER: no TLB slot in common
#define IRET iretq
#define PTE(address) (PAGE_TABLES + 0x3000 + (address) / 0x1000 * 8)
    .macro row_code
    .code64
    .endm
#endif
