/* The checks of everything that this guest drives. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stdbool.h>

/* One line a check, and "selftest: N passed, M failed" at the end; true if M is 0. */
bool selftest(void);

#endif
