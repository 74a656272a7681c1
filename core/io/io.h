/*
** io.h - what the file formats share: a file being read, a file being written so that it
** appears whole or not at all, and a scanner for their text headers. Private to core/io*.c and
** sha256.c; the binding uses fm_sha256 and fm_sha256_file, too.
*/
#ifndef FM_IO_H
#define FM_IO_H

#include <limits.h>
#include <sys/types.h>

#include "../fm.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory; the formats are little-endian"
#endif

/* ------------------------------------------------------------------ a file being read */

typedef struct fm_in {
  fm_ctx *ctx;
  const char *path; /* borrowed, for sentences */
  int fd;
  uint64_t size; /* as it was when opened */
  uint64_t at;   /* bytes read so far */
} fm_in;

/* Regular files only: a folder, pipe or device is refused rather than waited for. */
fm_err fm_in_open(fm_in *in, fm_ctx *ctx, const char *path);
fm_err fm_in_read(fm_in *in, void *to, size_t n); /* exactly n bytes, or FM_EDATA */
fm_err fm_in_read_at(const fm_in *in, uint64_t at, void *to, size_t n); /* likewise, from there */
void fm_in_close(fm_in *in);

/* ------------------------------------------------------------------ a file being written */

typedef struct fm_out {
  fm_ctx *ctx;
  const char *name;    /* the path as given; borrowed, for sentences */
  int fd;              /* of the temporary; -1: none */
  char path[PATH_MAX]; /* where the file will appear, links resolved */
  char part[PATH_MAX]; /* the temporary beside it */
} fm_out;

/* Nothing at `path` changes before fm_out_commit. A call that fails removes the temporary. */
fm_err fm_out_open(fm_out *out, fm_ctx *ctx, const char *path);
fm_err fm_out_write(fm_out *out, const void *bytes, size_t n);
fm_err fm_out_write_at(fm_out *out, uint64_t at, const void *bytes, size_t n); /* anywhere */
fm_err fm_out_commit(fm_out *out, bool keep); /* keep: the old file stays as path.prev */
void fm_out_discard(fm_out *out);             /* give up an open one; else nothing */

/*
** The temporary of `path`, open for writing and locked, with its name in `part`; -1 with errno.
** fm_sweep removes the temporaries of that path which no living process writes.
*/
int fm_temporary_open(const char *path, char part[PATH_MAX], mode_t mode);
void fm_sweep(const char *path);

/* ------------------------------------------------------------------ private folders */

/*
** A new folder below TMPDIR, or /tmp if that is unset, with rights for its owner alone. It is
** removed with its contents by fm_private_remove or when the process exits; what a killed process
** left is removed by the next call. FM_EDATA: the place does not exist or cannot be written to.
*/
fm_err fm_private_folder(fm_ctx *ctx, char path[PATH_MAX]);
void fm_private_remove(const char *path); /* one of ours; of any other path nothing happens */

/* ------------------------------------------------------------------ header text */

/*
** A cursor over NUL-terminated text in memory. The functions return false (NULL) after recording
** in the context what was found and what was expected, and then `err` says which kind it was.
*/
typedef struct fm_scan {
  fm_ctx *ctx;
  const char *path;
  char *text, *at, *end; /* the text, the cursor, the final NUL */
  size_t base;           /* position of text[0] in the file */
  fm_err err;
} fm_scan;

/* text: the n bytes just read from `in`, with room for a NUL behind them. */
void fm_scan_start(fm_scan *s, const fm_in *in, char *text, size_t n);

bool fm_scan_bad(fm_scan *s, const char *expected); /* the sentence; always false */
bool fm_scan_accept(fm_scan *s, const char *word);  /* skips blanks; takes `word` if it is next */
bool fm_scan_expect(fm_scan *s, const char *word);
bool fm_scan_natural(fm_scan *s, int64_t *value); /* 0 .. INT64_MAX, no sign, no leading 0 */
bool fm_scan_shape(fm_scan *s, fm_shape *shape, const char *close); /* "2, 3" up to `close` */
char *fm_scan_string(fm_scan *s); /* a JSON string, decoded in place; valid UTF-8, no NUL inside */
bool fm_scan_end(fm_scan *s);     /* nothing but blanks is left */

bool fm_utf8_ok(const char *text);
/* A name of an archive's file as UTF-8: as it is, else by code page 437. False: it does not fit. */
bool fm_name_utf8(const char *name, char *out, size_t room);
const char *fm_shown(const char *text, char buf[64]); /* fit for a sentence: short, no controls */

/*
** Number of bytes of `shape`, or -1 if that exceeds `most`: sizes from a file are checked against
** the file before anything is allocated.
*/
int64_t fm_shape_bytes(const fm_shape *shape, fm_dtype dtype, uint64_t most);

/* ------------------------------------------------------------------ SHA-256 (FIPS 180-4) */

void fm_sha256(const void *bytes, size_t n, char hex[65]);
struct sha256_ctx;
void fm_sha256_hex(struct sha256_ctx *sha, char hex[65]); /* the digest of what nettle was fed */
fm_err fm_sha256_file(fm_ctx *ctx, const char *path, char hex[65]);

#endif
