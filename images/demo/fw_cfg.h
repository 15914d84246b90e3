/* Files that the emulator hands to the guest. */
#ifndef FW_CFG_H
#define FW_CFG_H

#include <stdbool.h>

/* True if the emulator offers a file of this name. */
bool fw_cfg_has(const char *name);

#endif
