// SYSENTER, SYSEXIT, SYSCALL and SYSRET outside long mode (Intel SDM volume 2; AMD64 APM volume 3,
// which has SYSCALL there too).

    .set SYSENTER_CS, 0x174
    .set SYSENTER_ESP, 0x175
    .set SYSENTER_EIP, 0x176
    .set STAR, 0xC0000081

// A ring other than 0 is entered.
    .macro ring_or_stay level
    .if \level
    ring \level
    .endif
    .endm

// SYSENTER to `target` with CS 8; SYSEXIT then goes to selectors 1B and 23, which are made.
    .macro set_sysenter cs, target
    write_msr SYSENTER_CS, 0, \cs
    write_msr SYSENTER_ESP, 0, RING0_TOP
    write_msr SYSENTER_EIP, 0, \target
    .endm
    .irp level, 0, 1, 3
    check "sysenter from ring \level"
    set_sysenter CODE0, 1f
    ring_or_stay \level
    sysenter
1:  done
    check "sysenter from ring \level with a null CS"
    set_sysenter 3, 1f
    ring_or_stay \level
    sysenter
1:  done
    check "sysexit from ring \level"
    set_sysenter CODE0, 0
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    gdt_entry 0x18, 0x00CFFB00, 0x0000FFFF
    gdt_entry 0x20, 0x00CFF300, 0x0000FFFF
    .if \level == 3
    ring 3
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    .endif
    sysexit
1:  done
    check "sysexit from ring \level with a null CS"
    set_sysenter 0, 0
    ring_or_stay \level
    sysexit
    done
    check "syscall from ring \level without SCE"
    ring_or_stay \level
    syscall
    done
    check "sysret from ring \level without SCE"
    ring_or_stay \level
    sysret
    done
    .endr
    check "sysenter from virtual-8086 mode"
    set_sysenter CODE0, 1f
    v86 IF
    sysenter
    .code32
1:  done
    check "sysenter clears IF and keeps the rest"
    set_sysenter CODE0, 1f
    ring 3, IF+0x240000+IOPL3+0xD5
    sysenter
1:  done
    check "sysexit keeps the flags"
    set_sysenter CODE0, 0
    movl $1f, %edx
    movl $RING3_TOP, %ecx
    gdt_entry 0x18, 0x00CFFB00, 0x0000FFFF
    gdt_entry 0x20, 0x00CFF300, 0x0000FFFF
    eflags 0x240AD5
    sysexit
1:  done
