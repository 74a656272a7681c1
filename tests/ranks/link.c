/*
** link.c - a bad link between two network namespaces: link A B DELAY_MS LOSS_PERCENT makes a device
** "bad0" in each and carries packets between them, late, and some not at all. For tests of ranks; it
** stands for tc's netem, which many kernels lack.
*/
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536 /* packets on the way; more are lost */

typedef struct packet {
  double due;
  int to, size;
  char *data;
} packet;

static packet queue[MOST]; /* a ring: the delay is the same for all, so the first is due first */
static unsigned first, last;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int device_in(const char *name) {
  char path[256];
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  snprintf(path, sizeof path, "/run/netns/%s", name);
  int space = open(path, O_RDONLY | O_CLOEXEC);
  if (space < 0 || setns(space, CLONE_NEWNET) != 0) fail(path);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  strcpy(request.ifr_name, "bad0");
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) fail("/dev/net/tun");
  close(space);
  return fd;
}

static uint32_t drawn(void) { /* the same losses in each test */
  static uint32_t state = 2463534242u;
  state ^= state << 13, state ^= state >> 17, state ^= state << 5;
  return state;
}

static void take(int from, int to, double delay, double loss) {
  static char data[65536];
  ssize_t size = read(from, data, sizeof data);
  if (size <= 0 || drawn() < loss / 100 * 4294967295.0 || last - first == MOST) return;
  packet *p = &queue[last++ % MOST];
  *p = (packet){now() + delay / 1000, to, (int)size, malloc((size_t)size)};
  if (p->data == NULL) fail("malloc");
  memcpy(p->data, data, (size_t)size);
}

static void deliver(void) {
  for (; first != last && queue[first % MOST].due <= now(); first++) {
    packet *p = &queue[first % MOST];
    if (write(p->to, p->data, (size_t)p->size) < 0) p->size = 0; /* lost, like others */
    free(p->data);
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  struct pollfd end[2] = {{device_in(argv[1]), POLLIN, 0}, {device_in(argv[2]), POLLIN, 0}};
  double delay = atof(argv[3]), loss = atof(argv[4]);
  puts("ready");
  fflush(stdout);
  for (;;) {
    double left = first == last ? 1 : queue[first % MOST].due - now();
    struct timespec wait = {(time_t)(left > 0 ? left : 0),
                            (long)(1e9 * (left > 0 && left < 1 ? left : 0))};
    ppoll(end, 2, &wait, NULL);
    for (int k = 0; k < 2; k++)
      if (end[k].revents) take(end[k].fd, end[1 - k].fd, delay, loss);
    deliver();
  }
}
