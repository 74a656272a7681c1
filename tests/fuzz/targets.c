/*
** targets.c - what is fuzzed: every reader of files from elsewhere. FUZZ_TARGET names one. A reader
** takes the bytes, or refuses them by FM_EDATA and one printable sentence; nothing leaks. What it
** takes it must read again, where there is a writer, as the same bytes.
**
** Linked with libFuzzer (make fuzz), or with driver.c where there is no clang.
*/
#define _GNU_SOURCE
#include "targets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "io/archive.h"
#include "io/image.h"

const char *target_name;
static fm_ctx *ctx;

_Noreturn void wrong(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s: ", target_name);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  abort();
}

const char *file_of(const uint8_t *bytes, size_t n) {
  static char path[64];
  static int fd = -1;
  if (fd < 0) {
    fd = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  }
  if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n) exit(2);
  return path;
}

/* ------------------------------------------------------------------ verdicts */

static bool taken(fm_err err) {
  const char *s = fm_error(ctx);
  if (err == FM_OK) return true;
  /* A damaged archive may ask for a buffer of any size. */
  const bool memory = err == FM_ENOMEM && strcmp(target_name, "archive") == 0;
  if ((err != FM_EDATA && !memory) || strlen(s) < 20) wrong("error %d: '%s'", err, s);
  for (; *s; s++)
    if ((unsigned char)*s < ' ' || *s == 127) wrong("a control character in '%s'", fm_error(ctx));
  if (!fm_utf8_ok(fm_error(ctx))) wrong("a sentence that is not UTF-8: %s", fm_error(ctx));
  fm_error_clear(ctx);
  return false;
}

/* ------------------------------------------------------------------ tensors */

static void same_again(const fm_tensor *t, const fm_tensor *u, const char *what) {
  if (u->dtype != t->dtype || !fm_shape_eq(&u->shape, &t->shape) || u->bytes != t->bytes ||
      (t->bytes && memcmp(u->data, t->data, t->bytes) != 0))
    wrong("%s: written and read again, another tensor", what);
}

static const char *beside(void) {
  static char path[64];
  snprintf(path, sizeof path, "/dev/shm/fuzz-%d", (int)getpid());
  return path;
}

/* One in so many results is written and read again: that flushes a file to the disk. */
enum { SELDOM = 4096 };
static bool now_and_then(void) {
  static unsigned count;
  return count++ % SELDOM == 0;
}

static void npy(const uint8_t *bytes, size_t n) {
  fm_tensor *t = NULL, *again = NULL;
  if (taken(fm_load_npy(ctx, file_of(bytes, n), &t)) && now_and_then()) {
    if (!taken(fm_save_npy(ctx, beside(), t)) || !taken(fm_load_npy(ctx, beside(), &again)))
      wrong("what was read cannot be written");
    same_again(t, again, "npy");
    unlink(beside());
  }
  fm_tensor_drop(t);
  fm_tensor_drop(again);
}

static bool all_finite(const fm_ckpt *c) {
  for (int k = 0; k < c->n; k++)
    for (int64_t i = 0; i < fm_shape_count(&c->tensors[k].tensor->shape); i++)
      if (fm_tensor_get(c->tensors[k].tensor, i) * 0 != 0) return false;
  return true;
}

static void safetensors(const uint8_t *bytes, size_t n) {
  fm_ckpt c, again;
  if (!taken(fm_load_safetensors(ctx, file_of(bytes, n), &c))) return;
  if (now_and_then() && all_finite(&c)) {
    fm_err err = fm_save_safetensors(ctx, beside(), c.n, c.tensors, c.nmeta, c.meta, false);
    if (err == FM_EUSAGE) { /* a name or key that only others write */
      fm_error_clear(ctx);
    } else if (taken(err) && taken(fm_load_safetensors(ctx, beside(), &again))) {
      if (again.n != c.n) wrong("%d tensors were %d", again.n, c.n);
      fm_ckpt_free(&again);
    }
    unlink(beside());
  }
  fm_ckpt_free(&c);
}

/* ------------------------------------------------------------------ packed images */

static void pack(const uint8_t *bytes, size_t n) {
  fm_pack_info i;
  fm_tensor *table = NULL, *labels = NULL;
  fm_stamp stamp;
  uint8_t *copy = malloc(n + 1);
  if (copy == NULL) exit(2);
  memcpy(copy, bytes, n);
  if (n >= FM_PACK_HEADER) { /* a header with a right checksum, whatever it says */
    const uint32_t crc = (uint32_t)crc32(0, copy + 12, FM_PACK_HEADER - 12);
    memcpy(copy + 8, &crc, 4);
  }
  const char *path = file_of(copy, n);
  if (taken(fm_pack_look(ctx, path, &i)) &&
      taken(fm_pack_map(ctx, path, 0, i.train, NULL, &table, &labels))) {
    unsigned sum = 0;
    for (size_t k = 0; k < table->bytes; k++) sum += ((uint8_t *)table->data)[k];
    if (sum == 1) fputs("", stderr); /* the sum is used */
    fm_tensor_drop(table);
    fm_tensor_drop(labels);
    taken(fm_pack_verify(ctx, path, &stamp));
  }
  free(copy);
}

/* ------------------------------------------------------------------ pictures */

/* Right checksums for all chunks of a PNG, whatever they hold. */
static void mend_png(uint8_t *b, size_t size) {
  for (size_t at = 8; at + 12 <= size;) {
    const uint8_t *c = b + at;
    const size_t n = (size_t)c[0] << 24 | (size_t)c[1] << 16 | (size_t)c[2] << 8 | c[3];
    if (n > size - at - 12) return;
    const uint32_t crc = __builtin_bswap32((uint32_t)crc32(0, c + 4, (uInt)(n + 4)));
    memcpy(b + at + 8 + n, &crc, 4);
    at += 12 + n;
  }
}

static void picture(const uint8_t *bytes, size_t n) {
  fm_image m;
  uint8_t *copy = malloc(n + 1), small[4 * 4 * 3];
  if (copy == NULL) exit(2);
  memcpy(copy, bytes, n);
  if (strcmp(target_name, "png") == 0) mend_png(copy, n);
  if (taken(fm_image_decode(ctx, "it", copy, n, &m))) {
    if (m.h < 1 || m.w < 1) wrong("a picture of %d x %d", (int)m.h, (int)m.w);
    if (m.h >= 4 && m.w >= 4) fm_image_fit(&m, m.h, m.w, 4, small);
    fm_image_free(ctx, &m);
  }
  free(copy);
}

/* ------------------------------------------------------------------ archives */

enum { ARCHIVE_READ = 1 << 20 };

/* A stale errno must not matter: libarchive would end the process for ENOMEM. */
static void archive(const uint8_t *bytes, size_t n) {
  errno = ENOMEM;
  static uint8_t part[4096];
  fm_source *s = fm_source_open(ctx, file_of(bytes, n));
  if (s == NULL) {
    taken(fm_error_code(ctx));
    return;
  }
  const int64_t count = fm_source_count(s);
  uint8_t *wanted = malloc((size_t)count + 1);
  int64_t k = 0;
  size_t got = 1, all = 0;
  if (wanted == NULL) exit(2);
  memset(wanted, 1, (size_t)count);
  for (int64_t i = 0; i < count; i++)
    if (!fm_utf8_ok(fm_source_name(s, i))) wrong("a name that is not UTF-8");
  while (k >= 0 && all < ARCHIVE_READ && taken(fm_source_next(s, wanted, &k)) && k >= 0)
    for (got = 1; got > 0 && all < ARCHIVE_READ; all += got)
      if (!taken(fm_source_read(s, part, sizeof part, &got))) got = 0, all = ARCHIVE_READ;
  free(wanted);
  fm_source_close(s);
}

/* ------------------------------------------------------------------ which */

static const struct {
  const char *name;
  target run;
} targets[] = {{"npy", npy},      {"safetensors", safetensors}, {"pack", pack}, {"png", picture},
               {"jpeg", picture}, {"archive", archive}};

static target chosen = lua_target;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  target_name = getenv("FUZZ_TARGET");
  if (target_name == NULL) {
    fputs("FUZZ_TARGET names what is fuzzed, see tests/fuzz/targets.c and readers.lua\n", stderr);
    exit(2);
  }
  for (size_t k = 0; k < sizeof targets / sizeof *targets; k++)
    if (strcmp(target_name, targets[k].name) == 0) chosen = targets[k].run;
  ctx = fm_ctx_new(1);
  if (ctx == NULL) exit(2);
  if (chosen == lua_target) lua_start();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  const size_t before = fm_bytes_now(ctx);
  chosen(bytes, n);
  if (fm_bytes_now(ctx) != before) wrong("%ld bytes leaked", (long)(fm_bytes_now(ctx) - before));
  return 0;
}
