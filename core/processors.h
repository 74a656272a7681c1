/* processors.h - private to core/processors.c and ctx.c. */
#ifndef FM_PROCESSORS_H
#define FM_PROCESSORS_H

#include <stdbool.h>

/* Those that this process may use: by its affinity mask, and by its control group's quota. */
int fm_processors(void);

#endif
