// A check that ends in a triple fault: the CPU starts again and finds MARK set. The frame goes on
// with what memory holds, says so, and goes on behind the check.

    .code32
restarted:
    movl $0, MARK
    movl $ENGINE_TOP, %esp
    call start_serial
    say ": reset\n"
    jmp *resume
