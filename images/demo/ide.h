/* IDE disks. */
#ifndef IDE_H
#define IDE_H

void ide_init(void);

#endif
