/*
** archive.c - the files of a folder or an archive, listed and then read in order. An archive is
** read twice, first to list it, then to read its files, because the places of images in a pack
** depend on all names and not on the order in the archive.
**
** gzip is decompressed by zlib, because libarchive does not verify gzip's checksum. An archive is
** always read to its end, because the checksum of a compressed stream comes last.
*/
#define _XOPEN_SOURCE 700
#include "archive.h"

#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "libarchive.h"

enum { GZ_BLOCK = 1 << 16 };

/*
** Limits on the unpacked bytes of all files and on the bytes of all names. An archive may unpack to
** always_bytes and most_ratio times its size, more than images ever compress, but not to more than
** most_bytes.
*/
static const int64_t most_bytes = 1LL << 37, always_bytes = 1LL << 30, most_ratio = 1000;
static const size_t most_names = (size_t)1 << 27;

typedef struct file {
  char *name;
  size_t bytes; /* of the name */
} file;

struct fm_source {
  fm_ctx *ctx;
  char path[PATH_MAX];
  bool folder, ended;
  file *file;
  int64_t count, capacity, at; /* at: the next file, while walking */
  int64_t total, most;         /* bytes of all files so far, and their limit */
  size_t names;                /* bytes of all names */
  locale_t utf8;               /* in which libarchive can express all names; 0: none */
  char name[3 * FM_SOURCE_NAME];
  struct archive *archive;
  struct archive_entry *entry; /* ours: libarchive does not check the allocation of its own */
  gzFile gz;
  char gz_block[GZ_BLOCK];
  fm_in in; /* the open file of a folder */
};

/* ------------------------------------------------------------------ the list */

static fm_err unfit(fm_source *s, const char *name, const char *why) {
  char shown[64];
  return fm_fail(s->ctx, FM_EDATA, "'%.300s' has a file '%s' that %s", s->path,
                 fm_shown(name, shown), why);
}

/* Names never become paths on disk, but an archive that tries to write elsewhere is not trusted. */
static bool escapes(const char *name) {
  if (name[0] == '/') return true;
  for (const char *c = name; c; c = strchr(c, '/'), c = c ? c + 1 : NULL)
    if (strncmp(c, "..", 2) == 0 && (c[2] == '/' || c[2] == 0)) return true;
  return false;
}

static fm_err add(fm_source *s, const char *name) {
  const size_t n = strlen(name) + 1;
  if (n > sizeof s->name || (s->folder && n > FM_SOURCE_NAME))
    return unfit(s, name, "has too long a name");
  if (escapes(name)) return unfit(s, name, "points outside it");
  if (s->count == FM_SOURCE_FILES)
    return fm_fail(s->ctx, FM_EDATA, "'%.400s' has more than %d files", s->path, FM_SOURCE_FILES);
  s->names += n;
  if (s->names > most_names)
    return fm_fail(s->ctx, FM_EDATA, "'%.400s' has file names of more than %zu MiB in total",
                   s->path, most_names >> 20);
  if (s->count == s->capacity) {
    const size_t was = (size_t)s->capacity * sizeof *s->file,
                 to = was ? 2 * was : 256 * sizeof *s->file;
    file *grown = fm_resize(s->ctx, s->file, was, to);
    if (grown == NULL) return FM_ENOMEM;
    s->file = grown;
    s->capacity = (int64_t)(to / sizeof *s->file);
  }
  char *copy = fm_alloc(s->ctx, n);
  if (copy == NULL) return FM_ENOMEM;
  memcpy(copy, name, n);
  s->file[s->count++] = (file){copy, n};
  return FM_OK;
}

/* ------------------------------------------------------------------ pictures that would be lost */

/* Whether the extension of a name is one of a list, each between blanks. */
static bool extension_in(const char *name, const char *list) {
  const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
  char word[8];
  if (dot == NULL || snprintf(word, sizeof word, " %s ", dot + 1) >= (int)sizeof word) return false;
  for (char *c = word; *c; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
  return strstr(list, word) != NULL;
}

static bool is_picture(const char *name) { return extension_in(name, " jpeg jpg png "); }

/* Hidden files, which programs leave beside others; as in lua/flowmap/data/packed/plan.lua. */
static bool is_hidden(const char *name) {
  return name[0] == '.' || strstr(name, "/.") || strstr(name, "__MACOSX/");
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of two files of one name, unpacking would leave the second alone. */
static fm_err check_names(fm_source *s, const int64_t *place) {
  const size_t bytes = (size_t)s->count * sizeof(char *);
  const char **name = fm_alloc(s->ctx, bytes);
  fm_err err = FM_OK;
  int64_t n = 0;
  if (name == NULL) return FM_ENOMEM;
  for (int64_t k = 0; k < s->count; k++)
    if (place[k] >= 0) name[n++] = s->file[k].name;
  qsort(name, (size_t)n, sizeof *name, by_text);
  for (int64_t k = 1; k < n && !err; k++)
    if (strcmp(name[k - 1], name[k]) == 0) err = unfit(s, name[k], "is in it twice");
  fm_free(s->ctx, name, bytes);
  return err;
}

fm_err fm_source_check(fm_source *s, const int64_t *place) {
  static const char others[] = " avif bmp gif heic heif jfif jp2 jpe jxl pgm ppm tif tiff webp ";
  bool pictures = false;
  for (int64_t k = 0; k < s->count; k++)
    pictures = pictures || (place[k] >= 0 && is_picture(s->file[k].name));
  for (int64_t k = 0; k < s->count && pictures; k++) {
    const char *name = s->file[k].name;
    if (place[k] < 0 && !is_hidden(name) && extension_in(name, others))
      return unfit(s, name, "is not a .jpg, .jpeg or .png; convert it, or remove it");
  }
  return check_names(s, place);
}

/* ------------------------------------------------------------------ folders */

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shown(const struct dirent *e) { return e->d_name[0] != '.'; }

/* out = folder/name, or the one of them that is not empty; an error if that is too long. */
static fm_err join(fm_source *s, char out[PATH_MAX], const char *folder, const char *name) {
  const char *slash = *folder && *name ? "/" : "";
  if (snprintf(out, PATH_MAX, "%s%s%s", folder, slash, name) < PATH_MAX) return FM_OK;
  return unfit(s, name, "has too long a path");
}

static fm_err list_folder(fm_source *s, const char *inside, int depth) {
  char path[PATH_MAX], name[PATH_MAX];
  struct dirent **entry;
  struct stat st;
  fm_err err = join(s, path, s->path, inside);
  if (err) return err;
  const int n = scandir(path, &entry, is_shown, by_name);
  if (n < 0)
    return fm_fail(s->ctx, errno == ENOMEM ? FM_ENOMEM : FM_EDATA,
                   "cannot read the folder '%.400s': %s", path, strerror(errno));
  for (int k = 0; k < n; k++) {
    if (!err) err = join(s, name, inside, entry[k]->d_name);
    if (!err) err = join(s, path, s->path, name);
    /* Links to files are followed; links to folders are not, because they may form a cycle. */
    const bool there = !err && lstat(path, &st) == 0, link = there && S_ISLNK(st.st_mode);
    if (!err && !there)
      err = fm_fail(s->ctx, FM_EDATA, "cannot look at '%.400s': %s", path, strerror(errno));
    if (there && S_ISDIR(st.st_mode))
      err = depth == FM_SOURCE_DEPTH ? unfit(s, name, "is nested too deeply")
                                     : list_folder(s, name, depth + 1);
    else if (there && (!link || stat(path, &st) == 0) && S_ISREG(st.st_mode))
      err = add(s, name);
    else if (there && link && S_ISDIR(st.st_mode))
      err = unfit(s, name, "is a link to a folder, which is not followed");
    else if (there && link && is_picture(name))
      err = unfit(s, name, "is a link to no file");
    free(entry[k]);
  }
  free(entry);
  return err;
}

/* ------------------------------------------------------------------ archives */

static fm_err no_memory(fm_source *s) {
  return fm_fail(s->ctx, FM_ENOMEM,
                 "no memory to read '%.400s': the archive is damaged, or needs more than there is",
                 s->path);
}

/* Whether libarchive failed for lack of memory, which its error number does not always say. */
static bool is_memory(struct archive *a, const char *why) {
  static const char *const signs[] = {"llocate", " memory", "an't initialize",
                                      "nternal error init"};
  if (archive_errno(a) == ENOMEM) return true;
  for (size_t k = 0; why && k < sizeof signs / sizeof *signs; k++)
    if (strstr(why, signs[k])) return true;
  return false;
}

static fm_err broken(fm_source *s) {
  const char *why = s->archive ? archive_error_string(s->archive) : NULL;
  if (s->archive && is_memory(s->archive, why)) return no_memory(s);
  if (why == NULL) why = "it cannot be read";
  const size_t n = strcspn(why, "\r\n"); /* some of its messages end with a line feed */
  return fm_fail(s->ctx, FM_EDATA, "'%.300s' is damaged or not an archive: %.*s", s->path,
                 n < 150 ? (int)n : 150, why);
}

static la_ssize_t gz_feed(struct archive *a, void *arg, const void **block) {
  fm_source *s = arg;
  int code, n = gzread(s->gz, s->gz_block, GZ_BLOCK);
  const char *why = gzerror(s->gz, &code);
  *block = s->gz_block;
  if (n >= 0 && (code == Z_OK || code == Z_STREAM_END)) return n;
  archive_set_error(a, code == Z_MEM_ERROR ? ENOMEM : EIO, "gzip: %s",
                    code == Z_BUF_ERROR ? "it ends too early" : why);
  return -1;
}

static void close_archive(fm_source *s) {
  if (s->archive) archive_read_free(s->archive);
  if (s->entry) archive_entry_free(s->entry);
  if (s->gz) gzclose(s->gz);
  s->archive = NULL;
  s->entry = NULL;
  s->gz = NULL;
}

static fm_err look_for_gzip(fm_source *s, bool *found) {
  unsigned char b[2] = {0};
  fm_in in;
  fm_err err = fm_in_open(&in, s->ctx, s->path);
  if (err) return err;
  if (in.size >= 2) err = fm_in_read(&in, b, 2);
  fm_in_close(&in);
  *found = b[0] == 0x1f && b[1] == 0x8b;
  return err;
}

static fm_err open_archive(fm_source *s) {
  close_archive(s);
  bool gzip;
  fm_err err = load_libarchive(s->ctx);
  if (!err) err = look_for_gzip(s, &gzip);
  if (err) return err;
  if ((s->archive = archive_read_new()) == NULL) return no_memory(s);
  if ((s->entry = archive_entry_new2(s->archive)) == NULL) return no_memory(s);
  int code = archive_read_support_filter_bzip2(s->archive);
  if (code == ARCHIVE_OK) code = archive_read_support_filter_xz(s->archive);
  if (code == ARCHIVE_OK) code = archive_read_support_filter_zstd(s->archive);
  if (code == ARCHIVE_OK) code = archive_read_support_format_tar(s->archive);
  /* The streaming zip reader does not notice a missing end. */
  if (code == ARCHIVE_OK) code = archive_read_support_format_zip_seekable(s->archive);
  if (code == ARCHIVE_OK)
    code = archive_read_set_options(s->archive, "tar:read_concatenated_archives");
  if (code != ARCHIVE_OK) return no_memory(s); /* the only reason for which these calls fail */
  if (gzip) {
    errno = ENOMEM; /* gzopen leaves errno unchanged when an allocation fails */
    if ((s->gz = gzopen(s->path, "rb")) == NULL) return errno == ENOMEM ? no_memory(s) : broken(s);
    gzbuffer(s->gz, 1 << 17);
    archive_read_set_read_callback(s->archive, gz_feed);
    code =
        archive_read_set_callback_data(s->archive, s); /* archive_read_open ignores its failure */
    if (code == ARCHIVE_OK) code = archive_read_open1(s->archive);
  } else {
    code = archive_read_open_filename(s->archive, s->path, 1 << 16);
  }
  if (code == ARCHIVE_OK) return FM_OK;
  /* On opening a file, libarchive has a message for every failure except lack of memory. */
  return archive_error_string(s->archive) ? broken(s) : no_memory(s);
}

static fm_err count_bytes(fm_source *s, struct archive_entry *e) {
  const int64_t size = archive_entry_size_is_set(e) ? archive_entry_size(e) : 0;
  if (size >= 0 && size <= s->most - s->total) {
    s->total += size;
    return FM_OK;
  }
  return fm_fail(s->ctx, FM_EDATA, "'%.400s' unpacks to more than %lld MiB, the limit for its size",
                 s->path, (long long)(s->most >> 20));
}

/* Leave out what a path does not need, that one file has one name: ./a//b/./c is a/b/c. */
static void tidy(char *name) {
  char *to = name;
  for (const char *from = name; *from;) {
    const bool first = from == name || from[-1] == '/';
    if (first && from[0] == '.' && from[1] == '/')
      from += 2;
    else if (first && from > name && *from == '/')
      from++;
    else
      *to++ = *from++;
  }
  *to = 0;
}

/* The name in UTF-8, independent of the user's locale. */
static fm_err take_name(fm_source *s, struct archive_entry *e, const char **name) {
  errno = 0; /* as in next_entry */
  const char *raw = archive_entry_pathname(e);
  if (raw == NULL) raw = archive_entry_pathname_utf8(e);
  if (raw == NULL) return unfit(s, "?", "has an unreadable name");
  if (strlen(raw) >= FM_SOURCE_NAME || !fm_name_utf8(raw, s->name, sizeof s->name))
    return unfit(s, raw, "has too long a name");
  tidy(s->name);
  *name = s->name;
  return FM_OK;
}

/* The name of the next regular file; NULL at the end. */
static fm_err next_entry(fm_source *s, const char **name) {
  struct archive_entry *e = s->entry;
  *name = NULL;
  for (;;) {
    errno =
        0; /* libarchive ends the process if ENOMEM is left from before and a name is malformed */
    const int code = archive_read_next_header2(s->archive, e);
    if (code == ARCHIVE_EOF) return FM_OK;
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return broken(s);
    const bool link = archive_entry_filetype(e) == AE_IFLNK || archive_entry_hardlink(e);
    if (!link && archive_entry_filetype(e) != AE_IFREG) continue;
    fm_err err = take_name(s, e, name);
    if (err || !link) return err ? err : count_bytes(s, e);
    if (is_picture(*name) && !is_hidden(*name))
      return unfit(s, *name, "is a link, which is not followed");
    *name = NULL;
  }
}

/*
** libarchive converts names to the thread's locale and loses those that the locale cannot express;
** the locale of the process may be C.
*/
static locale_t enter(fm_source *s) { return s->utf8 ? uselocale(s->utf8) : (locale_t)0; }
static void leave(locale_t was) {
  if (was) uselocale(was);
}

static fm_err list_archive(fm_source *s, int64_t size) {
  const char *name;
  const int64_t scaled = size < most_bytes / most_ratio ? size * most_ratio : most_bytes;
  s->most = scaled < most_bytes - always_bytes ? scaled + always_bytes : most_bytes;
  s->total = 0;
  const locale_t was = enter(s);
  fm_err err = open_archive(s);
  while (!err) {
    err = next_entry(s, &name);
    if (err || name == NULL) break;
    err = add(s, name);
  }
  close_archive(s);
  leave(was);
  return err;
}

/* ------------------------------------------------------------------ any source */

fm_source *fm_source_open(fm_ctx *ctx, const char *path) {
  struct stat st;
  fm_source *s = fm_alloc(ctx, sizeof *s);
  if (s == NULL) return NULL;
  memset(s, 0, sizeof *s);
  s->ctx = ctx;
  s->in.fd = -1;
  s->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
  snprintf(s->path, sizeof s->path, "%s", path);
  fm_err err = FM_OK;
  if (stat(path, &st) != 0)
    err = fm_fail(ctx, FM_EDATA, "cannot read '%.400s': %s", path, strerror(errno));
  else if ((s->folder = S_ISDIR(st.st_mode)))
    err = list_folder(s, "", 0);
  else if (!S_ISREG(st.st_mode))
    err = fm_fail(ctx, FM_EDATA, "'%.400s' is neither a folder nor a file", path);
  else
    err = list_archive(s, st.st_size);
  s->at = -1;
  if (err == FM_OK) return s;
  fm_source_close(s);
  return NULL;
}

void fm_source_close(fm_source *s) {
  close_archive(s);
  fm_in_close(&s->in);
  for (int64_t k = 0; k < s->count; k++) fm_free(s->ctx, s->file[k].name, s->file[k].bytes);
  if (s->file) fm_free(s->ctx, s->file, (size_t)s->capacity * sizeof *s->file);
  if (s->utf8) freelocale(s->utf8);
  fm_free(s->ctx, s, sizeof *s);
}

int64_t fm_source_count(const fm_source *s) { return s->count; }
const char *fm_source_name(const fm_source *s, int64_t k) { return s->file[k].name; }

static fm_err next_in_folder(fm_source *s, const uint8_t *wanted, int64_t *k) {
  char path[PATH_MAX];
  fm_in_close(&s->in);
  while (s->at < s->count && !wanted[s->at]) s->at++;
  *k = s->at < s->count ? s->at++ : -1;
  if (*k < 0) return FM_OK;
  fm_err err = join(s, path, s->path, s->file[*k].name);
  if (!err) err = fm_in_open(&s->in, s->ctx, path);
  s->in.path = s->file[*k].name;
  return err;
}

static fm_err next_in_archive(fm_source *s, const uint8_t *wanted, int64_t *k) {
  const char *name;
  for (;;) {
    fm_err err = next_entry(s, &name);
    if (err) return err;
    s->ended = name == NULL && s->at == s->count;
    if (s->ended) {
      *k = -1; /* even if the last file was not wanted */
      return FM_OK;
    }
    if (name == NULL || s->at == s->count || strcmp(name, s->file[s->at].name) != 0)
      return fm_fail(s->ctx, FM_EDATA, "'%.400s' changed while it was being read", s->path);
    *k = s->at++;
    if (wanted[*k]) return FM_OK;
  }
}

fm_err fm_source_next(fm_source *s, const uint8_t *wanted, int64_t *k) {
  fm_err err = FM_OK;
  const locale_t was = enter(s);
  *k = -1;
  if (s->at < 0) { /* a walk that cannot begin may be tried again */
    if (!s->folder) err = open_archive(s);
    if (!err) s->at = s->total = 0;
  }
  if (!err && !s->ended)
    err = s->folder ? next_in_folder(s, wanted, k) : next_in_archive(s, wanted, k);
  leave(was);
  return err;
}

fm_err fm_source_read(fm_source *s, void *to, size_t n, size_t *got) {
  *got = 0;
  if (s->folder) {
    const uint64_t left = s->in.size - s->in.at;
    *got = left < n ? (size_t)left : n;
    return fm_in_read(&s->in, to, *got);
  }
  while (*got < n) {
    const la_ssize_t k = archive_read_data(s->archive, (char *)to + *got, n - *got);
    if (k < 0) return broken(s);
    if (k == 0) break;
    *got += (size_t)k;
  }
  return FM_OK;
}
