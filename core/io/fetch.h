/* fetch.h - downloads. Private to fetch.c and bind/data.c. */
#ifndef FM_IO_FETCH_H
#define FM_IO_FETCH_H

#include "io.h"

/* Told now and then: bytes so far, and all, or 0 if unknown. False stops the download. */
typedef bool (*fm_fetch_fn)(void *arg, double now, double total);

/*
** Download `url` (https, or file for a local one; redirects to https only) to `path`; a file that
** is there already is continued, a link is refused. After a failure (FM_EDATA) what has come stays
** there, for the next try. FM_EUSAGE: another kind of address.
*/
fm_err fm_fetch(fm_ctx *ctx, const char *url, const char *path, fm_fetch_fn fn, void *arg);

#endif
