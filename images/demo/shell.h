/* The shell. */
#ifndef SHELL_H
#define SHELL_H

/* Reads and runs commands for ever. */
void shell(void) __attribute__((noreturn));

/* Runs the self-test and switches the machine off. */
void shell_selftest(void);

#endif
