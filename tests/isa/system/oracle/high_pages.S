// 4 MiB pages beyond 4 GiB (PSE-36): bits 13 to 20 of the page directory's entry are bits 32 to 39 of
// the address, bit 21 is reserved (Intel SDM volume 3, section 4.3 and table 4-4). There is RAM from
// 4 GiB to 6 GiB but on Bochs, and none from 8 GiB on.

    .set LINEAR, 0x800000       // the page
    .set HIGH_BYTES, 0x200100   // where checks look in it, which without the high bits is in PAGE
    .set FINISH, 0x60CD         // the bytes of int $FINISHED

    jmp high_page_checks

// 32-bit paging: the first 4 MiB onto themselves by a table, and the entry in EBP at LINEAR.
page_32:
    movl $TABLES, %edi
    movl $0x1000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $TABLES + 0x1007, TABLES
    movl %ebp, TABLES + 8
    movl $TABLES + 0x1000, %edi
    movl $7, %eax
    movl $0x1000 / 4, %ecx
1:  stosl
    addl $0x1000, %eax
    loop 1b
    movl $0x10101010, PAGE + 0x100
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $CR4_PSE, %eax
    movl %eax, %cr4
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edi, %edi
    xorl %ebp, %ebp
    ret

// PAE paging: the first 4 MiB onto themselves, and at LINEAR 2 MiB from 4 GiB + PAGE on.
page_pae:
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl $TABLES + 0x2000, %edi
    movl $0x2000 / 4, %ecx
    xorl %eax, %eax
    rep stosl
    movl $TABLES + 0x3001, TABLES + 0x2000
    movl $0x87, TABLES + 0x3000
    movl $PAGE + 0x87, TABLES + 0x3008
    movl $PAGE + 0x87, TABLES + 0x3020
    movl $1, TABLES + 0x3024
    movl $TABLES + 0x2000, %eax
    movl %eax, %cr3
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    xorl %edi, %edi
    ret

    .macro high_page entry
    movl $\entry, %ebp
    call page_32
    watch PAGE+0x100, TABLES+8
    .endm

high_page_checks:
    .irp address, 0, 0x2000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x1FE000
    .irp level, 0, 3
    check "write in ring \level to a page of \address"
    high_page 0x87+\address
    .if \level
    ring 3
    .endif
    movl $0x22222222, LINEAR + HIGH_BYTES
    done
    .irp bit, 0x200000, 0x400000, 0x80000000
    check "read in ring \level from a page of \address and \bit"
    high_page 0x87+\address+\bit
    .if \level
    ring 3
    .endif
    cmpl %ecx, LINEAR + HIGH_BYTES
    xorl %ecx, %ecx
    done
    .endr
    check "write in ring \level to a page of \address that cannot be"
    high_page 0x81+\address
    add_cr0 CR0_WP
    .if \level
    ring 3
    .endif
    movl $0x22222222, LINEAR + HIGH_BYTES
    done
    .endr
    .endr
    .irp size, 0, CR4_PSE
    check "an entry of bits 7 and 21 with \size"
    high_page TABLES+0x2087+0x200000
    movl $0, TABLES + 0x2800
    movl $PAGE + 7, TABLES + 0x202800
    set_cr4 \size
    movl LINEAR + HIGH_BYTES, %ecx
    done
    .endr

// The RAM at 4 GiB.
    check "what is written to a high page is read from it"
    high_page 0x2087
    movl $0x33333333, LINEAR + HIGH_BYTES
    invlpg LINEAR
    movl LINEAR + HIGH_BYTES, %ecx
    done
    check "what is written to a high page is at its address"
    high_page 0x2087
    movl $0x44444444, LINEAR + HIGH_BYTES
    movl $0x55555555, LINEAR + HIGH_BYTES + 0x1FFE00
    call page_pae
    movl LINEAR + 0x100, %ecx
    movl LINEAR + 0x1FFF00, %edx
    done
    check "a high page is written by another way"
    high_page 0x2087
    call page_pae
    movl $0x66666666, LINEAR + 0x100
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl $0x2087, %ebp
    call page_32
    movl LINEAR + HIGH_BYTES, %ecx
    done
    check "a high page after a low one"
    high_page 0x87
    movl $0x77777777, LINEAR + HIGH_BYTES
    orl $0x2000, TABLES + 8
    invlpg LINEAR + PAGE
    movl $0x88888888, LINEAR + HIGH_BYTES
    movl LINEAR + HIGH_BYTES, %ecx
    done
    check "a low page after a high one"
    high_page 0x2087
    movl $0x99999999, LINEAR + HIGH_BYTES
    andl $~0x2000, TABLES + 8
    invlpg LINEAR + PAGE
    movl LINEAR + HIGH_BYTES, %ecx
    done
    check "code in a high page"
    high_page 0x2087
    movw $FINISH, LINEAR + HIGH_BYTES
    movl $LINEAR + HIGH_BYTES, %eax
    call *%eax
    done
    check "a write across the end of a high page"
    high_page 0x2087
    movl $0x4087, TABLES + 0xC
    movl $0, TABLES + 0x10
    movl $0xAAAAAAAA, LINEAR + 0x3FFFFC
    movl $0x4087 | 0x200000, TABLES + 0xC
    invlpg LINEAR + 0x400000
    movl $0xBBBBBBBB, LINEAR + 0x3FFFFE
    done
    check "what a write across the end of a high page has left"
    high_page 0x2087
    movl LINEAR + 0x3FFFFC, %ecx
    done
    check "an entry of a high page that is global"
    high_page 0x2187
    set_cr4 CR4_PSE+CR4_PGE
    movl $0xCCCCCCCC, LINEAR + HIGH_BYTES
    movl LINEAR + HIGH_BYTES, %ecx
    done
