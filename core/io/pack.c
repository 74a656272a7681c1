/* pack.c - reading and writing files of packed images, whose layout pack.h describes. */
#include "pack.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#include "../map.h"
#include "../times.h"

static const char magic[8] = "flowmap\n";

enum { AT_CRC = 8, AT_VERSION = 12, AT_NUMBERS = 16, AT_HASH = 64, AT_LENGTH = 128, AT_TEXT = 136 };
enum { VERSION = 1, MAX_SIDE = 4096, BLOCK = 1 << 16 };

static const int64_t most_images = 100000000;

static int64_t image_bytes(const fm_pack_info *i) { return i->height * i->width * i->channels; }
static int64_t label_bytes(const fm_pack_info *i) { return i->classes ? i->count : 0; }
static int64_t file_bytes(const fm_pack_info *i) {
  return FM_PACK_HEADER + i->count * image_bytes(i) + label_bytes(i);
}

typedef struct bounded { /* a number of the header, and its range */
  const char *name;
  int64_t value, low, high;
} bounded;

/* Whether a number is out of range; `wrong` is then the first such. */
static bool out_of_range(const fm_pack_info *i, bounded *wrong) {
  const bounded all[] = {{"number of images", i->count, 1, most_images},
                         {"height", i->height, 1, MAX_SIDE},
                         {"width", i->width, 1, MAX_SIDE},
                         {"number of channels", i->channels, 1, 4},
                         {"size of the training part", i->train, 1, i->count},
                         {"number of classes", i->classes, 0, FM_PACK_CLASSES}};
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
    *wrong = all[k];
    if (wrong->value < wrong->low || wrong->value > wrong->high) return true;
  }
  return false;
}

/* ------------------------------------------------------------------ the header */

static void header_bytes(const fm_pack_info *i, uint8_t b[FM_PACK_HEADER]) {
  const int64_t number[6] = {i->count, i->height, i->width, i->channels, i->train, i->classes};
  const int64_t length = (int64_t)strlen(i->text);
  const uint32_t version = VERSION;
  memset(b, 0, FM_PACK_HEADER);
  memcpy(b, magic, sizeof magic);
  memcpy(b + AT_VERSION, &version, sizeof version);
  memcpy(b + AT_NUMBERS, number, sizeof number);
  memcpy(b + AT_HASH, i->hash, 64);
  memcpy(b + AT_LENGTH, &length, sizeof length);
  memcpy(b + AT_TEXT, i->text, (size_t)length);
  const uint32_t crc = (uint32_t)crc32(0, b + AT_VERSION, FM_PACK_HEADER - AT_VERSION);
  memcpy(b + AT_CRC, &crc, sizeof crc);
}

static fm_err parse(const fm_in *in, const uint8_t b[FM_PACK_HEADER], fm_pack_info *i) {
  uint32_t crc, version;
  int64_t number[6], length;
  memcpy(&crc, b + AT_CRC, sizeof crc);
  memcpy(&version, b + AT_VERSION, sizeof version);
  memcpy(number, b + AT_NUMBERS, sizeof number);
  memcpy(&length, b + AT_LENGTH, sizeof length);
  if (memcmp(b, magic, sizeof magic) != 0)
    return fm_fail(in->ctx, FM_EDATA, "'%.400s' is not a file of packed images", in->path);
  if (crc != crc32(0, b + AT_VERSION, FM_PACK_HEADER - AT_VERSION))
    return fm_fail(in->ctx, FM_EDATA,
                   "'%.400s' is damaged: its header does not match the header's checksum",
                   in->path);
  if (version != VERSION)
    return fm_fail(in->ctx, FM_EDATA,
                   "'%.400s' has version %u of the format, expected %d; import it again", in->path,
                   version, VERSION);
  *i = (fm_pack_info){.count = number[0],
                      .height = number[1],
                      .width = number[2],
                      .channels = number[3],
                      .train = number[4],
                      .classes = number[5]};
  bounded wrong = {"length of the description", length, 0, FM_PACK_TEXT - 1};
  if (length < wrong.low || length > wrong.high || out_of_range(i, &wrong))
    return fm_fail(in->ctx, FM_EDATA,
                   "'%.300s' is damaged: in its header the %s is %lld, expected %lld to %lld",
                   in->path, wrong.name, (long long)wrong.value, (long long)wrong.low,
                   (long long)wrong.high);
  memcpy(i->hash, b + AT_HASH, 64);
  memcpy(i->text, b + AT_TEXT, (size_t)length);
  if (in->size != (uint64_t)file_bytes(i))
    return fm_fail(in->ctx, FM_EDATA, "'%.400s' is damaged: %llu bytes found, expected %lld",
                   in->path, (unsigned long long)in->size, (long long)file_bytes(i));
  return FM_OK;
}

static fm_err open_header(fm_in *in, fm_ctx *ctx, const char *path, fm_pack_info *info) {
  uint8_t b[FM_PACK_HEADER];
  fm_err err = fm_in_open(in, ctx, path);
  if (err) return err;
  err = fm_in_read(in, b, sizeof b);
  if (!err) err = parse(in, b, info);
  if (err) fm_in_close(in);
  return err;
}

/* ------------------------------------------------------------------ writing */

fm_err fm_pack_create(fm_pack *p, fm_ctx *ctx, const char *path, const fm_pack_info *info) {
  *p = (fm_pack){.out = {.ctx = ctx, .fd = -1}, .info = *info, .left = info->count};
  bounded wrong;
  if (out_of_range(info, &wrong))
    return fm_fail(ctx, FM_EUSAGE, "packed images: the %s is %lld, expected %lld to %lld",
                   wrong.name, (long long)wrong.value, (long long)wrong.low, (long long)wrong.high);
  if ((p->done = fm_alloc(ctx, (size_t)info->count)) == NULL) return FM_ENOMEM;
  memset(p->done, 0, (size_t)info->count);
  if (info->classes && (p->labels = fm_alloc(ctx, (size_t)info->count)) == NULL) return FM_ENOMEM;
  return fm_out_open(&p->out, ctx, path);
}

/* Whether all of these places are free and their labels are classes; nothing is marked before. */
static fm_err check_places(const fm_pack *p, int64_t at, int64_t n, const uint8_t *label) {
  fm_ctx *ctx = p->out.ctx;
  if (p->info.classes && label == NULL && n > 0)
    return fm_fail(ctx, FM_EDATA, "packed images: no labels found, expected one per image");
  for (int64_t k = 0; k < n; k++) {
    if (p->done[at + k])
      return fm_fail(ctx, FM_EDATA, "packed images: image %lld is written twice",
                     (long long)at + k + 1);
    if (p->info.classes && label[k] >= p->info.classes)
      return fm_fail(ctx, FM_EDATA, "packed images: label %d found, expected 0 to %lld", label[k],
                     (long long)p->info.classes - 1);
  }
  return FM_OK;
}

fm_err fm_pack_put(fm_pack *p, int64_t at, int64_t n, const uint8_t *pixels, const uint8_t *label) {
  const int64_t size = image_bytes(&p->info);
  if (at < 0 || n < 0 || at > p->info.count - n)
    return fm_fail(p->out.ctx, FM_EUSAGE,
                   "packed images: %lld places from %lld on found, but there are only %lld",
                   (long long)n, (long long)at, (long long)p->info.count);
  fm_err err = check_places(p, at, n, label);
  if (err) return err;
  err =
      fm_out_write_at(&p->out, (uint64_t)(FM_PACK_HEADER + at * size), pixels, (size_t)(n * size));
  if (err) return err;
  memset(p->done + at, 1, (size_t)n);
  if (p->info.classes && n > 0) memcpy(p->labels + at, label, (size_t)n);
  p->left -= n;
  return FM_OK;
}

/* The SHA-256 of everything after the header, as it is on disk. */
static fm_err hash_rest(const fm_in *in, char hex[65]) {
  struct sha256_ctx sha;
  uint8_t block[BLOCK];
  fm_err err = FM_OK;
  sha256_init(&sha);
  for (uint64_t at = FM_PACK_HEADER; !err && at < in->size; at += sizeof block) {
    size_t n = in->size - at < sizeof block ? (size_t)(in->size - at) : sizeof block;
    err = fm_in_read_at(in, at, block, n);
    if (!err) sha256_update(&sha, n, block);
  }
  fm_sha256_hex(&sha, hex);
  return err;
}

static fm_err finish(fm_pack *p) {
  uint8_t header[FM_PACK_HEADER];
  const fm_pack_info *i = &p->info;
  const uint64_t end = (uint64_t)(file_bytes(i) - label_bytes(i));
  fm_err err = FM_OK;
  if (i->classes) err = fm_out_write_at(&p->out, end, p->labels, (size_t)i->count);
  if (err) return err;
  fm_in in;
  if ((err = fm_in_open(&in, p->out.ctx, p->out.part)) != FM_OK) return err;
  err = hash_rest(&in, p->info.hash);
  fm_in_close(&in);
  if (err) return err;
  header_bytes(i, header);
  err = fm_out_write_at(&p->out, 0, header, sizeof header);
  return err ? err : fm_out_commit(&p->out, false);
}

fm_err fm_pack_finish(fm_pack *p) {
  if (p->left > 0)
    return fm_fail(p->out.ctx, FM_EDATA, "packed images: %lld of %lld images are missing",
                   (long long)p->left, (long long)p->info.count);
  return finish(p);
}

void fm_pack_close(fm_pack *p) {
  fm_out_discard(&p->out);
  if (p->labels) fm_free(p->out.ctx, p->labels, (size_t)p->info.count);
  if (p->done) fm_free(p->out.ctx, p->done, (size_t)p->info.count);
  p->labels = p->done = NULL;
}

/* ------------------------------------------------------------------ reading */

fm_err fm_pack_look(fm_ctx *ctx, const char *path, fm_pack_info *info) {
  fm_in in;
  fm_err err = open_header(&in, ctx, path, info);
  if (!err) fm_in_close(&in);
  return err;
}

static void stamp_of(const fm_in *in, fm_stamp *stamp) {
  struct stat st;
  struct timespec now;
  *stamp = (fm_stamp){.fresh = true};
  if (fstat(in->fd, &st) != 0) return;
  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(stamp->text, sizeof stamp->text, "%llx %llx %lld %lld.%09ld %lld.%09ld",
           (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, (long long)st.st_size,
           (long long)FM_MTIME(st).tv_sec, FM_MTIME(st).tv_nsec, (long long)FM_CTIME(st).tv_sec,
           FM_CTIME(st).tv_nsec);
  stamp->fresh = now.tv_sec - FM_CTIME(st).tv_sec < 2; /* the clock of files may be coarse */
}

/* Labels are few, so they are read, checked, and returned as numbers for the operation gather. */
static fm_err read_labels(const fm_in *in, const fm_pack_info *i, int64_t first, int64_t n,
                          fm_tensor **labels) {
  uint8_t block[4096];
  fm_tensor *t = fm_tensor_new(in->ctx, FM_F32, &(fm_shape){1, {n}});
  if (t == NULL) return FM_ENOMEM;
  fm_err err = FM_OK;
  for (int64_t at = 0; at < n && !err;) {
    const size_t want = n - at < (int64_t)sizeof block ? (size_t)(n - at) : sizeof block;
    err = fm_in_read_at(in, (uint64_t)(file_bytes(i) - i->count + first + at), block, want);
    for (size_t k = 0; k < want && !err; k++) {
      if (block[k] >= i->classes)
        err = fm_fail(in->ctx, FM_EDATA, "'%.400s' is damaged: label %d found, expected 0 to %lld",
                      in->path, block[k], (long long)i->classes - 1);
      fm_tensor_set(t, at++, block[k]);
    }
  }
  if (err)
    fm_tensor_drop(t);
  else
    *labels = t;
  return err;
}

static fm_err check_range(const fm_in *in, const fm_pack_info *i, int64_t first, int64_t n,
                          const char *stamp) {
  fm_stamp now;
  stamp_of(in, &now);
  if (stamp && strcmp(stamp, now.text) != 0)
    return fm_fail(in->ctx, FM_EDATA, "'%.400s' changed after it was verified", in->path);
  if (first >= 0 && n >= 0 && first <= i->count - n) return FM_OK;
  return fm_fail(in->ctx, FM_EUSAGE,
                 "'%.400s' has %lld images, but %lld from image %lld on were requested", in->path,
                 (long long)i->count, (long long)n, (long long)first);
}

static fm_err map_images(const fm_in *in, const fm_pack_info *i, int64_t first, int64_t n,
                         fm_tensor **out) {
  const size_t size = (size_t)file_bytes(i);
  const fm_shape s = {4, {n, i->height, i->width, i->channels}};
  char *map = fm_map_file(in->ctx, in->path, in->fd, size, i->hash, fm_pack_compare);
  if (map == NULL) return fm_error_code(in->ctx);
  char *data = map + FM_PACK_HEADER + first * image_bytes(i);
  if ((*out = fm_tensor_over(in->ctx, FM_U8, &s, data, map, size)) != NULL) return FM_OK;
  fm_unmap(map, size);
  return fm_error_code(in->ctx);
}

fm_err fm_pack_map(fm_ctx *ctx, const char *path, int64_t first, int64_t n, const char *stamp,
                   fm_tensor **table, fm_tensor **labels) {
  fm_in in;
  fm_pack_info i = {0};
  *table = *labels = NULL;
  fm_err err = open_header(&in, ctx, path, &i);
  if (err) return err;
  err = check_range(&in, &i, first, n, stamp);
  if (!err) err = map_images(&in, &i, first, n, table);
  if (!err && i.classes) err = read_labels(&in, &i, first, n, labels);
  fm_in_close(&in);
  if (err) {
    fm_tensor_drop(*table);
    *table = NULL;
  }
  return err;
}

fm_tensor *fm_pack_blank(fm_ctx *ctx, const fm_shape *shape) {
  const int64_t bytes = fm_shape_bytes(shape, FM_U8, INT64_MAX);
  if (bytes < 1) {
    fm_fail(ctx, FM_EUSAGE, "blank images: a shape with no values or with too many found");
    return NULL;
  }
  void *map = fm_map_zeros(ctx, (size_t)bytes);
  fm_tensor *t = map ? fm_tensor_over(ctx, FM_U8, shape, map, map, (size_t)bytes) : NULL;
  if (map && t == NULL) fm_unmap(map, (size_t)bytes);
  return t;
}

static fm_err compare(const fm_in *in, const char hash[65]) {
  char hex[65];
  fm_err err = hash_rest(in, hex);
  if (err || strcmp(hex, hash) == 0) return err;
  return fm_fail(in->ctx, FM_EDATA,
                 "'%.400s' is damaged: its images have the SHA-256 %.12s..., expected %.12s...; "
                 "import it again",
                 in->path, hex, hash);
}

fm_err fm_pack_verify(fm_ctx *ctx, const char *path, fm_stamp *stamp) {
  fm_in in;
  fm_pack_info i;
  fm_err err = open_header(&in, ctx, path, &i);
  if (err) return err;
  if (stamp) stamp_of(&in, stamp); /* before reading: a change during it then changes the stamp */
  err = compare(&in, i.hash);
  fm_in_close(&in);
  return err;
}

fm_err fm_pack_compare(fm_ctx *ctx, const char *path, int fd, const char hash[65]) {
  struct stat st;
  fm_in in = {.ctx = ctx, .path = path, .fd = fd};
  if (fstat(fd, &st) == 0) in.size = (uint64_t)st.st_size;
  return compare(&in, hash);
}

fm_err fm_pack_stamp(fm_ctx *ctx, const char *path, fm_stamp *stamp) {
  fm_in in;
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  stamp_of(&in, stamp);
  fm_in_close(&in);
  return FM_OK;
}
