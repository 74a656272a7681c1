/* processors.h - the processors available to this process; the largest number of threads. */
#ifndef FM_PROCESSORS_H
#define FM_PROCESSORS_H

enum { FM_MAX_THREADS = 256 }; /* of a context */

/* At least 1; limited by the affinity mask and by the quota of the control group (version 2). */
int fm_processors(void);

#endif
