/* processors.c - the number of processors available: affinity mask and control-group quota. */
#define _GNU_SOURCE /* sched_getaffinity */
#if defined(__linux__)
#include <sched.h>
#endif
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "processors.h"

#if defined(__linux__)

/*
** The quota in a file cpu.max, in processors, rounded up; 0: none. The file says "200000 100000"
** for two processors, "max 100000" for no quota.
*/
static int quota_in(const char *path) {
  long long quota, period;
  FILE *f = fopen(path, "re");
  if (f == NULL) return 0;
  const bool set = fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0;
  fclose(f);
  return set ? (int)((quota - 1) / period + 1) : 0;
}

/* The path of our control group (version 2), "" if there is none. */
static void own_group(char *path, int size) {
  char line[512];
  FILE *f = fopen("/proc/self/cgroup", "re");
  path[0] = '\0';
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, "0::/", 4) == 0)
      snprintf(path, (size_t)size, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
  if (f) fclose(f);
}

/* The smallest quota of our control group and its ancestors; 0: none. */
static int quota(void) {
  char group[512], path[600];
  int least = 0;
  own_group(group, sizeof group);
  for (char *end; (end = strrchr(group, '/')) != NULL; *end = '\0') {
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    const int n = quota_in(path);
    if (n > 0 && (least == 0 || n < least)) least = n;
  }
  const int top = quota_in("/sys/fs/cgroup/cpu.max");
  return top > 0 && (least == 0 || top < least) ? top : least;
}

/* The processors of our affinity mask; 0: unknown. */
static int mask(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
}

#else /* neither masks nor groups */

static int quota(void) { return 0; }
static int mask(void) { return 0; }

#endif

int fm_processors(void) {
  const int masked = mask(), most = quota();
  const long n = masked > 0 ? masked : sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : most > 0 && most < n ? most : (int)n;
}
