/* times.h - the times of a file in nanoseconds, whatever struct stat calls them. */
#ifndef FM_TIMES_H
#define FM_TIMES_H

#include <sys/stat.h>

#if defined(__APPLE__)
#define FM_MTIME(st) ((st).st_mtimespec)
#define FM_CTIME(st) ((st).st_ctimespec)
#else
#define FM_MTIME(st) ((st).st_mtim)
#define FM_CTIME(st) ((st).st_ctim)
#endif

#endif
