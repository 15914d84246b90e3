/* A check of paging. */
#ifndef PAGING_H
#define PAGING_H

#include <stdbool.h>

/* Turns paging on, uses and misuses a few pages, and turns it off again. */
bool paging_check(void);

#endif
