/* INT 11h (equipment list) and INT 12h (base memory): two words of the BIOS data area. */
#include "runtime.h"

u8 int11(struct registers *r)
{
    r->ax = bda.equipment;
    return DONE;
}

u8 int12(struct registers *r)
{
    r->ax = bda.base_memory_kib;
    return DONE;
}
