/* Calls of interrupts and option ROMs from POST (real_call.S does the change of mode). */
#include "post.h"

void enter_real_mode(void);

void real_far_call(u16 segment, u16 offset, struct real_call *call)
{
    call->target_segment = segment;
    call->target_offset = offset;
    RUNTIME(real_call) = *call;
    enter_real_mode();
    *call = RUNTIME(real_call);
}

void real_interrupt(u8 number, struct real_call *call)
{
    const volatile u16 *vector = (u16 *)0 + number * 2;
    asm("" : "+r"(vector)); /* the table begins at address 0: not a null pointer here */
    real_far_call(vector[1], vector[0], call);
}
