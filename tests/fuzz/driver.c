/*
** driver.c - stands in for libFuzzer where there is no clang: damages the files of a corpus at
** random and tries them, without looking at what is reached.
**
**   driver [-runs=N] [-seed=N] [-max_total_time=SECONDS] [-artifact_prefix=P] FILE|FOLDER...
**
** Files alone are tried as they are. A folder's files are tried, then damaged. An input that ends
** the process is left in Pcrash-driver; the number of executions is printed as libFuzzer does.
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "targets.h"

enum { FILES = 4096, MOST = 1 << 17 };

typedef struct blob {
  size_t n;
  uint8_t *b;
} blob;

static blob file[FILES];
static int files;
static uint64_t state = 1, runs = UINT64_MAX, tried;
static const char *prefix = "";
static blob now; /* the input being tried */

static uint32_t draw(uint32_t n) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return n ? (uint32_t)(state >> 33) % n : 0;
}

static void keep(int signal) {
  char path[512];
  snprintf(path, sizeof path, "%scrash-driver", prefix);
  FILE *f = fopen(path, "wb");
  if (f) fwrite(now.b, 1, now.n, f), fclose(f);
  fprintf(stderr, "signal %d; the input is in %s\n", signal, path);
  _exit(77);
}

/* ------------------------------------------------------------------ damage */

static void put_number(uint8_t *at, size_t left) {
  static const uint64_t odd[] = {0,          1,          UINT64_MAX, INT64_MAX,     INT64_MAX - 7,
                                 1ull << 62, 1ull << 32, INT32_MAX,  0xFFFFFFFFull, 1ull << 40};
  uint64_t v = odd[draw(10)];
  if (draw(2)) v = __builtin_bswap64(v);
  const size_t n = draw(2) ? 8 : 4;
  memcpy(at, &v, n < left ? n : left);
}

static void put_text(uint8_t *at, size_t left) {
  static const char *const odd[] = {"9223372036854775807",
                                    "-1",
                                    "\"",
                                    "}",
                                    "]",
                                    "\\u0000",
                                    "18446744073709551616",
                                    "\xff\xfe",
                                    "[[[[[[",
                                    "0,0,0,0,0,0,0,0",
                                    "1e99",
                                    "00",
                                    "\\ud800",
                                    "nan",
                                    "0x",
                                    "\r\n"};
  const char *text = odd[draw(16)];
  const size_t n = strlen(text);
  memcpy(at, text, n < left ? n : left);
}

static void damage(const blob *from, blob *to) {
  memcpy(to->b, from->b, to->n = from->n);
  for (uint32_t k = 1 + draw(3); k > 0 && to->n > 0; k--) {
    const uint32_t reach = draw(2) && to->n > 200 ? 200 : (uint32_t)to->n; /* headers first */
    const size_t at = draw(reach), left = to->n - at;
    const size_t length = 1 + draw(left < 64 ? (uint32_t)left : 64);
    switch (draw(7)) {
    case 0: to->b[at] ^= (uint8_t)(1u << draw(8)); break;
    case 1: to->b[at] = (uint8_t)draw(256); break;
    case 2: put_number(to->b + at, left); break;
    case 3: put_text(to->b + at, left); break;
    case 4: to->n = at; break;
    case 5: /* a part is missing */
      if (length > left) break;
      memmove(to->b + at, to->b + at + length, left - length);
      to->n -= length;
      break;
    default: /* or is repeated */
      if (to->n + length > MOST) break;
      memmove(to->b + at + length, to->b + at, left);
      to->n += length;
    }
  }
}

/* ------------------------------------------------------------------ files */

static void load(const char *path) {
  FILE *f = fopen(path, "rb");
  if (f == NULL || files == FILES) exit(2);
  blob *it = &file[files++];
  it->b = malloc(MOST);
  if (it->b == NULL) exit(2);
  it->n = fread(it->b, 1, MOST, f);
  fclose(f);
}

static bool load_all(const char *path) {
  struct stat s;
  if (stat(path, &s) != 0) exit(2);
  if (!S_ISDIR(s.st_mode)) return load(path), false;
  struct dirent **entry;
  const int n = scandir(path, &entry, NULL, alphasort); /* the order is the same everywhere */
  for (int k = 0; k < n; k++) {
    char inner[4096];
    snprintf(inner, sizeof inner, "%s/%s", path, entry[k]->d_name);
    if (entry[k]->d_name[0] != '.') load(inner);
    free(entry[k]);
  }
  if (n >= 0) free(entry);
  return true;
}

static void try(const blob *it) {
  memcpy(now.b, it->b, now.n = it->n);
  LLVMFuzzerTestOneInput(now.b, now.n);
  tried++;
}

int main(int argc, char **argv) {
  const time_t start = time(NULL);
  long seconds = 0;
  bool folder = false;
  blob bad = {0, malloc(MOST)};
  now.b = malloc(MOST);
  if (bad.b == NULL || now.b == NULL) return 2;
  for (int k = 1; k < argc; k++) {
    if (strncmp(argv[k], "-runs=", 6) == 0)
      runs = strtoull(argv[k] + 6, NULL, 10);
    else if (strncmp(argv[k], "-seed=", 6) == 0)
      state = strtoull(argv[k] + 6, NULL, 10);
    else if (strncmp(argv[k], "-max_total_time=", 16) == 0)
      seconds = strtol(argv[k] + 16, NULL, 10);
    else if (strncmp(argv[k], "-artifact_prefix=", 17) == 0)
      prefix = argv[k] + 17;
    else if (argv[k][0] != '-')
      folder |= load_all(argv[k]);
  }
  LLVMFuzzerInitialize(&argc, &argv);
  for (int s = 0; s < 4; s++) signal((int[]){SIGABRT, SIGSEGV, SIGFPE, SIGBUS}[s], keep);
  for (int k = 0; k < files; k++) try(&file[k]);
  while (folder && files > 0 && tried < runs && !(seconds && time(NULL) - start >= seconds)) {
    damage(&file[draw((uint32_t)files)], &bad);
    try(&bad);
  }
  printf("stat::number_of_executed_units: %llu\n", (unsigned long long)tried);
  return 0;
}
