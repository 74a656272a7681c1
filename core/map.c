/* map.c - the mappings of map.h: the handler of SIGBUS, mapping, checking. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "times.h"

typedef struct mapping { /* the handler reads base and bytes: base is set last and cleared first */
  atomic_uintptr_t base;
  size_t bytes;
  char *path;
  struct timespec changed; /* the file's modification time */
  int fd;
  atomic_bool lost;
  char hash[65];
  fm_map_compare compare;
} mapping;

static mapping table[FM_MAPPINGS];
static atomic_int used; /* number of mappings */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static uintptr_t page_mask;

/* ------------------------------------------------------------------ SIGBUS */

/* Replace the pages from the fault to the end of the mapping by zeros: all of them are lost. */
static bool patch(mapping *m, uintptr_t at) {
  const uintptr_t base = atomic_load(&m->base), page = at & page_mask;
  if (base == 0 || at < base || at >= base + m->bytes) return false;
  atomic_store(&m->lost, true);
  return mmap((void *)page, base + m->bytes - page, PROT_READ,
              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void on_bus(int sig, siginfo_t *info, void *context) {
  const int why = errno;
  (void)context;
  for (int k = 0; k < FM_MAPPINGS; k++)
    if (info->si_code > 0 && patch(&table[k], (uintptr_t)info->si_addr)) {
      errno = why;
      return; /* the instruction is retried and reads zeros */
    }
  sigaction(SIGBUS, &before, NULL); /* not one of ours: restore the previous handler */
  if (info->si_code <= 0) raise(sig);
  errno = why;
}

static void watch(void) {
  static bool watching;
  struct sigaction a;
  if (watching) return;
  page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
  memset(&a, 0, sizeof a);
  a.sa_sigaction = on_bus;
  a.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  watching = sigaction(SIGBUS, &a, &before) == 0;
}

/* ------------------------------------------------------------------ mapping */

static mapping *free_slot(fm_ctx *ctx) {
  for (int k = 0; k < FM_MAPPINGS; k++)
    if (atomic_load(&table[k].base) == 0) return &table[k];
  fm_fail(ctx, FM_EUSAGE, "cannot map another file: %d are mapped already", FM_MAPPINGS);
  return NULL;
}

static void *fill(fm_ctx *ctx, mapping *m, const char *path, int fd, size_t bytes) {
  struct stat st;
  m->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  m->path = strdup(path);
  void *map = m->fd >= 0 && m->path && fstat(m->fd, &st) == 0
                  ? mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0)
                  : MAP_FAILED;
  if (map == MAP_FAILED) {
    fm_fail(ctx, errno == ENOMEM ? FM_ENOMEM : FM_EDATA, "cannot map '%.400s': %s", path,
            strerror(errno));
    if (m->fd >= 0) close(m->fd);
    free(m->path);
    return NULL;
  }
  m->changed = FM_MTIME(st);
  m->bytes = bytes;
  atomic_store(&m->lost, false);
  atomic_store(&m->base, (uintptr_t)map);
  atomic_fetch_add(&used, 1);
  return map;
}

void *fm_map_file(fm_ctx *ctx, const char *path, int fd, size_t bytes, const char hash[65],
                  fm_map_compare compare) {
  pthread_mutex_lock(&mutex);
  watch();
  mapping *m = free_slot(ctx);
  if (m) memcpy(m->hash, hash, sizeof m->hash), m->compare = compare;
  void *map = m ? fill(ctx, m, path, fd, bytes) : NULL;
  pthread_mutex_unlock(&mutex);
  return map;
}

void *fm_map_zeros(fm_ctx *ctx, size_t bytes) {
  const int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void *map = mmap(NULL, bytes, PROT_READ, how, -1, 0);
  if (map != MAP_FAILED) return map;
  fm_fail(ctx, FM_ENOMEM, "cannot map %zu bytes of blank images: %s", bytes, strerror(errno));
  return NULL;
}

void fm_unmap(void *map, size_t bytes) {
  pthread_mutex_lock(&mutex);
  for (int k = 0; k < FM_MAPPINGS; k++) {
    mapping *m = &table[k];
    if (atomic_load(&m->base) != (uintptr_t)map) continue;
    atomic_store(&m->base, 0);
    atomic_fetch_sub(&used, 1);
    close(m->fd);
    free(m->path);
    break;
  }
  pthread_mutex_unlock(&mutex);
  munmap(map, bytes);
}

/* ------------------------------------------------------------------ checking */

static fm_err changed(fm_ctx *ctx, const mapping *m, const char *how) {
  return fm_fail(ctx, FM_EDATA, "'%.400s' %s while it was in use; import it again", m->path, how);
}

static fm_err check(fm_ctx *ctx, mapping *m) {
  struct stat st;
  if (atomic_load(&m->lost)) return changed(ctx, m, "became shorter or unreadable");
  if (fstat(m->fd, &st) != 0) return changed(ctx, m, "became unreadable");
  /* Truncation within the last page raises no signal. */
  if ((uint64_t)st.st_size < m->bytes) return changed(ctx, m, "became shorter");
  const struct timespec now = FM_MTIME(st);
  if (now.tv_sec == m->changed.tv_sec && now.tv_nsec == m->changed.tv_nsec) return FM_OK;
  fm_err err = m->compare(ctx, m->path, m->fd, m->hash);
  if (!err) m->changed = now; /* touched, but with the same contents */
  return err;
}

/* Check all mappings, or with `base` only that one. */
static fm_err check_any(fm_ctx *ctx, uintptr_t base) {
  fm_err err = FM_OK;
  if (atomic_load(&used) == 0) return FM_OK;
  pthread_mutex_lock(&mutex);
  for (int k = 0; k < FM_MAPPINGS && !err; k++) {
    const uintptr_t at = atomic_load(&table[k].base);
    if (at && (base == 0 || at == base)) err = check(ctx, &table[k]);
  }
  pthread_mutex_unlock(&mutex);
  return err;
}

fm_err fm_maps_check(fm_ctx *ctx) { return check_any(ctx, 0); }

fm_err fm_map_check(const fm_tensor *t) {
  const fm_tensor *whole = t->of ? t->of : t;
  return whole->map ? check_any(t->ctx, (uintptr_t)whole->map) : FM_OK;
}
