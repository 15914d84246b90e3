/* Snow on the screen. */
#ifndef SNOW_H
#define SNOW_H

/* Lets it snow until a key comes; the screen is lost. */
void snow(void);

#endif
