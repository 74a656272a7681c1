/*
** io.h - the parts that the file formats share: reading, atomic writing, temporary files and
** private folders, a scanner for text headers, SHA-256. Private to core/io and core/bind.
*/
#ifndef FM_IO_H
#define FM_IO_H

#include <limits.h>
#include <sys/types.h>

#include "../fm.h"
#include "../utf8.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they are in memory, but the file formats are little-endian"
#endif

/* ------------------------------------------------------------------ a file being read */

typedef struct fm_in {
  fm_ctx *ctx;
  const char *path; /* borrowed, for error sentences */
  int fd;
  uint64_t size; /* when the file was opened */
  uint64_t at;   /* bytes read so far */
} fm_in;

/* Regular files only: folders, pipes and devices are refused (FM_EDATA), never waited for. */
fm_err fm_in_open(fm_in *in, fm_ctx *ctx, const char *path);
fm_err fm_in_read(fm_in *in, void *to, size_t n); /* exactly n bytes, or FM_EDATA */
fm_err fm_in_read_at(const fm_in *in, uint64_t at, void *to, size_t n); /* likewise, at byte `at` */
void fm_in_close(fm_in *in);                                            /* may be repeated */
/* As fm_read_file (fm.h), but a file of more than `most` bytes is FM_EDATA, and not read. */
fm_err fm_read_within(fm_ctx *ctx, const char *path, uint64_t most, char **bytes, size_t *n);

/* ------------------------------------------------------------------ a file being written */

typedef struct fm_out {
  fm_ctx *ctx;
  const char *name;    /* the path as given; borrowed, for error sentences */
  int fd;              /* of the temporary file; -1: none */
  uint64_t at;         /* bytes appended so far */
  char path[PATH_MAX]; /* the path with links resolved */
  char part[PATH_MAX]; /* the temporary file beside it */
} fm_out;

/*
** Nothing at `path` changes before fm_out_commit. A call that fails (FM_EDATA) also removes the
** temporary file.
*/
fm_err fm_out_open(fm_out *out, fm_ctx *ctx, const char *path);
fm_err fm_out_write(fm_out *out, const void *bytes, size_t n);                 /* append */
fm_err fm_out_write_at(fm_out *out, uint64_t at, const void *bytes, size_t n); /* at byte `at` */
fm_err fm_out_commit(fm_out *out, bool keep); /* keep: the old file remains as path.prev */
void fm_out_discard(fm_out *out);             /* remove the temporary file, if there is one */

/*
** Create the temporary file of `path`, locked, and put its name in `part`. Returns its descriptor,
** or -1 with errno set.
*/
int fm_temporary_open(const char *path, char part[PATH_MAX], mode_t mode);
int fm_flock(int fd, int how);               /* flock(2), resumed after a signal */
bool fm_same_file(int fd, const char *path); /* whether `path` still names the open file */
int fm_sync(const char *path); /* flush a file or folder to disk; 0, or -1 with errno set */

/* Remove the temporary files of `path` that no living process is writing. */
void fm_sweep(const char *path);

/* ------------------------------------------------------------------ private folders */

/*
** Create a folder in TMPDIR, or in /tmp if that is unset, that only its owner can enter. It is
** removed with its contents by fm_private_remove or when the process exits; the next call removes
** the folders of processes that were killed. FM_EDATA: the folder cannot be created.
*/
fm_err fm_private_folder(fm_ctx *ctx, char path[PATH_MAX]);
void fm_private_remove(const char *path); /* ignores a path that fm_private_folder did not create */

/* ------------------------------------------------------------------ header text */

/*
** A cursor over NUL-terminated text in memory. On failure the functions return false (or NULL),
** leave a sentence in the context, and set `err` to its code.
*/
typedef struct fm_scan {
  fm_ctx *ctx;
  const char *path;
  char *text, *at, *end; /* the text, the cursor, the final NUL */
  size_t base;           /* position of text[0] in the file */
  fm_err err;
} fm_scan;

/* text: the n bytes just read from `in`, in a buffer of at least n + 1 bytes. */
void fm_scan_start(fm_scan *s, const fm_in *in, char *text, size_t n);

void fm_scan_fail(fm_scan *s, const char *expected); /* record the error sentence */
static inline bool fm_scan_bad(fm_scan *s, const char *expected) {
  fm_scan_fail(s, expected);
  return false;
}
bool fm_scan_accept(fm_scan *s, const char *word); /* skip blanks, then `word` if it comes next */
bool fm_scan_expect(fm_scan *s, const char *word); /* the same, but anything else is an error */
bool fm_scan_natural(fm_scan *s, int64_t *value);  /* 0 .. INT64_MAX, no sign, no leading 0 */
bool fm_scan_shape(fm_scan *s, fm_shape *shape, const char *close); /* "2, 3" up to `close` */
char *fm_scan_string(fm_scan *s); /* a JSON string, decoded in place: valid UTF-8 without NUL */
bool fm_scan_end(fm_scan *s);     /* only blanks are left */

/*
** Convert the name of a file in an archive to UTF-8: unchanged if it is UTF-8 already, otherwise
** from code page 437. False if the result is longer than `size` - 1 bytes.
*/
bool fm_name_utf8(const char *name, char *out, size_t size);
/* Foreign text made fit for an error sentence: truncated, control characters replaced by '?'. */
const char *fm_shown(const char *text, char buf[64]);

/*
** The number of bytes of a tensor, or -1 if that exceeds `most` or no tensor can have the shape.
** Sizes from a file are checked against the file's size before anything is allocated.
*/
int64_t fm_shape_bytes(const fm_shape *shape, fm_dtype dtype, uint64_t most);

/* ------------------------------------------------------------------ SHA-256 (FIPS 180-4) */

void fm_sha256(const void *bytes, size_t n, char hex[65]); /* lower-case hexadecimal */
struct sha256_ctx;
void fm_sha256_hex(struct sha256_ctx *sha, char hex[65]); /* the digest of a context of nettle's */
fm_err fm_sha256_file(fm_ctx *ctx, const char *path, char hex[65]); /* FM_EDATA: not readable */

#endif
