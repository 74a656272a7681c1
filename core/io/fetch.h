/* fetch.h - resumable downloads. Private to bind/data.c. */
#ifndef FM_IO_FETCH_H
#define FM_IO_FETCH_H

#include "io.h"

/* Called with the bytes so far and their total (0: unknown). False stops the download. */
typedef bool (*fm_fetch_fn)(void *arg, double now, double total);

/*
** Download `url` (https:// or file://; redirects to https only) to `path`. An existing file is
** taken for the beginning of the download, which is resumed; a link is refused. After a failure
** (FM_EDATA) the bytes received stay there for the next attempt. FM_EUSAGE: another kind of
** address.
*/
fm_err fm_fetch(fm_ctx *ctx, const char *url, const char *path, fm_fetch_fn fn, void *arg);

#endif
