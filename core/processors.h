/* processors.h - the number of processors available to this process. Private to ctx.c. */
#ifndef FM_PROCESSORS_H
#define FM_PROCESSORS_H

/* At least 1; limited by the affinity mask and by the quota of the control group (version 2). */
int fm_processors(void);

#endif
