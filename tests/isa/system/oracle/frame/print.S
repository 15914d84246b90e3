// The serial line, from 32-bit code with flat segments.

    .code32
start_serial:
    movw $COM1 + 3, %dx         // 8 data bits
    movb $3, %al
    outb %al, %dx
    ret

// Sends AL.
send:
    pushl %edx
    pushl %eax
    movw $COM1 + 5, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jz 1b
    popl %eax
    movw $COM1, %dx
    outb %al, %dx
    popl %edx
    ret

// Sends the string at ESI; ESI ends behind its zero.
send_string:
    lodsb
    testb %al, %al
    jz 1f
    call send
    jmp send_string
1:  ret

// Sends the low ECX digits of EAX in hexadecimal.
send_hex:
    pushl %eax
    pushl %ecx
    pushl %edx
    movl %eax, %edx
    negl %ecx
    leal 32(,%ecx,4), %ecx
    shll %cl, %edx              // the first digit wanted is on top
    movl 4(%esp), %ecx
1:  roll $4, %edx
    movl %edx, %eax
    andb $15, %al
    cmpb $10, %al
    sbbb $0x69, %al
    das
    orb $0x20, %al
    call send
    decl %ecx
    jnz 1b
    popl %edx
    popl %ecx
    popl %eax
    ret

    .macro say text
    call 1f
    .asciz "\text"
1:  popl %esi
    call send_string
    .endm

    .macro say_hex digits, value
    movl \value, %eax
    movl $\digits, %ecx
    call send_hex
    .endm
