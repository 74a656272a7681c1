/*
** fail_call.c - runs a command and makes one of its system calls fail, or kills it there.
**
**   fail_call KIND K REPORT COMMAND...
**
** KIND: ENOSPC, EIO, EINTR, EMFILE, EAGAIN, ENOMEM (the call is not made and returns this error),
** SHORT (a part of what was asked for is read or written), KILL and DIED (the process is killed
** before or after the call). Only calls that can meet the trouble are counted, from the moment the
** program has looked for its own files; what the dynamic linker does before is not the program's.
** With FAIL_ONLY=WORDS, only calls count whose description in REPORT holds these words.
** K = 0 lets all succeed. The file REPORT receives their number, and the call that failed.
** The exit code is the command's (128 + signal), or 125 with a sentence if tracing is not allowed.
**
** The calls are stopped by a seccomp filter and changed by ptrace: unlike a library that is
** preloaded, this reaches calls that the C library makes for itself (stdio, opendir).
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __x86_64__
int main(void) {
  fputs("fail_call: it knows the registers of x86-64 alone\n", stderr);
  return 125;
}
#else

/* ------------------------------------------------------------------ which calls, which troubles */

enum trouble {
  FULL = 1,
  IO = 2,
  INTR = 4,
  FILES = 8,
  PARTS = 16,
  CHANGES = 32,
  TASKS = 64,
  MAPS = 128
};

typedef struct call {
  long number;
  const char *name;
  int meets; /* a set of troubles */
} call;

#define WRITES (FULL | IO | INTR | PARTS | CHANGES)
#define NAMES (FULL | IO | CHANGES)
static const call calls[] = {
    {SYS_read, "read", IO | INTR | PARTS},
    {SYS_pread64, "pread", IO | INTR | PARTS},
    {SYS_readv, "readv", IO | INTR},
    {SYS_write, "write", WRITES},
    {SYS_pwrite64, "pwrite", WRITES},
    {SYS_writev, "writev", FULL | IO | INTR | CHANGES},
    {SYS_open, "open", IO | INTR | FILES},
    {SYS_openat, "openat", IO | INTR | FILES},
    {SYS_stat, "stat", IO},
    {SYS_lstat, "lstat", IO},
    {SYS_fstat, "fstat", IO},
    {SYS_newfstatat, "fstatat", IO},
    {SYS_statx, "statx", IO},
    {SYS_access, "access", IO},
    {SYS_faccessat, "faccessat", IO},
    {SYS_getdents64, "getdents", IO},
    {SYS_lseek, "lseek", IO},
    {SYS_mmap, "mmap", MAPS},
    {SYS_mprotect, "mprotect", MAPS},
    {SYS_flock, "flock", IO | INTR},
    {SYS_fcntl, "fcntl", INTR},
    {SYS_fsync, "fsync", FULL | IO | INTR | CHANGES},
    {SYS_fdatasync, "fdatasync", FULL | IO | INTR | CHANGES},
    {SYS_ftruncate, "ftruncate", FULL | IO | INTR | CHANGES},
    {SYS_fallocate, "fallocate", FULL | IO | INTR | CHANGES},
    {SYS_rename, "rename", NAMES},
    {SYS_renameat, "renameat", NAMES},
    {SYS_renameat2, "renameat2", NAMES},
    {SYS_link, "link", NAMES},
    {SYS_linkat, "linkat", NAMES},
    {SYS_symlink, "symlink", NAMES},
    {SYS_unlink, "unlink", IO | CHANGES},
    {SYS_unlinkat, "unlinkat", IO | CHANGES},
    {SYS_rmdir, "rmdir", IO | CHANGES},
    {SYS_mkdir, "mkdir", NAMES},
    {SYS_mkdirat, "mkdirat", NAMES},
    {SYS_close, "close", IO},
    {SYS_chdir, "chdir", IO},
    {SYS_getcwd, "getcwd", IO},
    {SYS_chmod, "chmod", IO},
    {SYS_fchmod, "fchmod", IO},
    {SYS_utimensat, "utimensat", IO},
    {SYS_pipe2, "pipe", FILES},
    {SYS_dup, "dup", FILES},
    {SYS_socket, "socket", FILES},
    {SYS_epoll_create1, "epoll_create", FILES},
    {SYS_eventfd2, "eventfd", FILES},
    {SYS_wait4, "wait4", INTR},
    {SYS_clone, "clone", TASKS},
    {SYS_clone3, "clone3", TASKS},
    {SYS_vfork, "vfork", TASKS},
    {SYS_fork, "fork", TASKS},
    {SYS_readlink, "readlink", IO}, /* the first starts the count */
    {SYS_readlinkat, "readlinkat", IO},
};
enum { CALLS = sizeof calls / sizeof *calls };

typedef struct kind {
  const char *name;
  int trouble, error; /* error 0: the call is made, or the process killed */
} kind;

static const kind kinds[] = {
    {"ENOSPC", FULL, ENOSPC},  {"EIO", IO, EIO},          {"EINTR", INTR, EINTR},
    {"EMFILE", FILES, EMFILE}, {"EAGAIN", TASKS, EAGAIN}, {"ENOMEM", MAPS, ENOMEM},
    {"SHORT", PARTS, 0},       {"KILL", CHANGES, 0},      {"DIED", CHANGES, 0}};

/* ------------------------------------------------------------------ state */

enum { TASKS_MOST = 4096 };
static const kind *wanted;
static long at, count;
static bool counting;
static pid_t first;             /* the program; its threads count, its children do not */
static pid_t child[TASKS_MOST]; /* tasks of other processes */
static int children;
static pid_t dying; /* the task that is killed when its call has been made */
static char described[4400], failed[4400] = "none";

static bool foreign(pid_t task) {
  for (int k = 0; k < children; k++)
    if (child[k] == task) return true;
  return false;
}

/* ------------------------------------------------------------------ the traced side */

static void filter_calls(void) {
  struct sock_filter code[2 * CALLS + 2];
  int n = 0;
  code[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int k = 0; k < CALLS; k++) {
    const bool start = calls[k].number == SYS_readlink || calls[k].number == SYS_readlinkat;
    if (!start && !(calls[k].meets & wanted->trouble)) continue;
    code[n++] =
        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[k].number, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {(unsigned short)n, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(125);
}

static void traced(char **command) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(125);
  raise(SIGSTOP);
  filter_calls();
  execvp(command[0], command);
  _exit(127);
}

/* ------------------------------------------------------------------ the tracing side */

static const char *text_at(pid_t task, uint64_t address) {
  static char text[4097];
  struct iovec here = {text, sizeof text - 1}, there = {(void *)(uintptr_t)address, 4096};
  ssize_t n = process_vm_readv(task, &here, 1, &there, 1, 0);
  if (n <= 0) { /* the page ends */
    there.iov_len = 4096 - address % 4096;
    n = process_vm_readv(task, &here, 1, &there, 1, 0);
  }
  text[n > 0 ? n : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return text;
}

/* Whether the call meets the trouble: it may create a file, or moves more than one byte. */
static bool applies(const call *c, const struct user_regs_struct *r) {
  const long long flags = c->number == SYS_open ? (long long)r->rsi : (long long)r->rdx;
  const bool opens = c->number == SYS_open || c->number == SYS_openat;
  if (opens && (wanted->trouble == FULL || wanted->trouble == CHANGES)) return flags & O_CREAT;
  if (c->number == SYS_write && r->rdi == 2) return false; /* the sentence itself */
  if (wanted->trouble == PARTS) return r->rdx > 1;
  return true;
}

static void describe(pid_t task, const call *c, const struct user_regs_struct *r) {
  const bool relative = strstr(c->name, "at") && strcmp(c->name, "stat") != 0 &&
                        strcmp(c->name, "fstat") != 0 && strcmp(c->name, "lstat") != 0;
  const uint64_t path = relative ? r->rsi : r->rdi;
  if (path > 65536)
    snprintf(described, sizeof described, "%s %s", c->name, text_at(task, path));
  else
    snprintf(described, sizeof described, "%s of descriptor %d", c->name, (int)r->rdi);
}

/* Whether the call is one of those asked for. */
static bool chosen(pid_t task, const call *c, const struct user_regs_struct *r) {
  const char *only = getenv("FAIL_ONLY");
  if (only == NULL) return true;
  describe(task, c, r);
  return strstr(described, only) != NULL;
}

static void inject(pid_t task, const call *c, struct user_regs_struct *r) {
  describe(task, c, r);
  strcpy(failed, described);
  if (wanted->error) {
    r->orig_rax = (unsigned long long)-1;
    r->rax = (unsigned long long)-wanted->error;
  } else if (wanted->trouble == PARTS) {
    r->rdx = 1 + (uint64_t)at * 2654435761u % (r->rdx - 1);
  } else if (strcmp(wanted->name, "DIED") == 0) {
    dying = task; /* the call is made; its exit stops the task once more */
    return;
  } else {
    kill(first, SIGKILL);
    return;
  }
  ptrace(PTRACE_SETREGS, task, NULL, r);
}

static void consider(pid_t task) {
  struct user_regs_struct r;
  if (foreign(task) || ptrace(PTRACE_GETREGS, task, NULL, &r) != 0) return;
  if (r.orig_rax == SYS_readlink || r.orig_rax == SYS_readlinkat) counting = true;
  for (int k = 0; counting && k < CALLS; k++) {
    const call *c = &calls[k];
    if ((long)r.orig_rax != c->number || !(c->meets & wanted->trouble) || !applies(c, &r)) continue;
    if (!chosen(task, c, &r)) continue;
    if (++count == at) inject(task, c, &r);
  }
}

/* The signal to deliver to a stopped task, 0 for none. */
static int handle_stop(pid_t task, int status) {
  const int signal = WSTOPSIG(status), event = status >> 16;
  unsigned long made = 0;
  if (event == PTRACE_EVENT_SECCOMP) consider(task);
  if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
    ptrace(PTRACE_GETEVENTMSG, task, NULL, &made);
    if ((event != PTRACE_EVENT_CLONE || foreign(task)) && children < TASKS_MOST)
      child[children++] = (pid_t)made;
  }
  if (event != 0 || signal == SIGTRAP || signal == (SIGTRAP | 0x80)) return 0;
  return signal == SIGSTOP ? 0 : signal; /* a new task's first stop */
}

static int watch(void) {
  int status, code = 125;
  for (;;) {
    const pid_t task = waitpid(-1, &status, __WALL);
    if (task < 0 && errno == EINTR) continue;
    if (task < 0) return code;
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (task == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      continue;
    }
    if (task == dying && (WSTOPSIG(status) & 0x80)) {
      kill(first, SIGKILL);
      dying = 0;
    }
    const int signal = handle_stop(task, status);
    ptrace(task == dying ? PTRACE_SYSCALL : PTRACE_CONT, task, NULL, (void *)(intptr_t)signal);
  }
}

int main(int argc, char **argv) {
  const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                       PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL |
                       PTRACE_O_TRACESYSGOOD;
  int status;
  for (size_t k = 0; argc > 4 && k < sizeof kinds / sizeof *kinds; k++)
    if (strcmp(argv[1], kinds[k].name) == 0) wanted = &kinds[k];
  if (wanted == NULL) {
    fputs("usage: fail_call KIND K REPORT COMMAND...\n", stderr);
    return 125;
  }
  at = strtol(argv[2], NULL, 10);
  first = fork();
  if (first == 0) traced(argv + 4);
  if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status) ||
      ptrace(PTRACE_SETOPTIONS, first, NULL, (void *)options) != 0) {
    fputs("fail_call: this machine does not let a process be traced\n", stderr);
    if (first > 0) kill(first, SIGKILL);
    return 125;
  }
  ptrace(PTRACE_CONT, first, NULL, NULL);
  const int code = watch();
  FILE *report = fopen(argv[3], "w");
  if (report == NULL) return 125;
  fprintf(report, "%ld %s\n", count, failed);
  return fclose(report) == 0 ? code : 125;
}
#endif
