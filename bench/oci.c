// oci: what a caller of an OCI runtime waits for: create, start, the end of the first process, delete; three programs
// started one after the other, as conmon and containerd's shim start them, by a caller that costs next to nothing.
// usage: oci [-n N] RUNTIME ROOT BUNDLE PIDFILE ID      or, for three programs that do nothing: oci [-n N] -e PROGRAM
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define DIE(...) do { fprintf(stderr, __VA_ARGS__); fprintf(stderr, ": %s\n", strerror(errno)); exit(1); } while (0)
extern char **environ;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e3 + t.tv_nsec * 1e-6; }
static int cmp(const void *a, const void *b) { double x = *(double *)a, y = *(double *)b; return (x > y) - (x < y); }
static double cpu(int who) { struct rusage u; getrusage(who, &u); return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-3; }
static void run(char **words) {
  pid_t pid; int status;
  if ((errno = posix_spawn(&pid, words[0], 0, 0, words, environ))) DIE("%s", words[0]);
  if (waitpid(pid, &status, 0) < 0 || status) { fprintf(stderr, "%s %s: status %x\n", words[0], words[3] ? words[3] : "", status); exit(1); } }
static pid_t created(const char *file) {
  int pid; FILE *f = fopen(file, "r"); if (!f || fscanf(f, "%d", &pid) != 1) DIE("%s", file); fclose(f); return pid; }
int main(int c, char **v) {
  int n = 20, empty = 0, o;
  while ((o = getopt(c, v, "+n:e")) > 0) switch (o) { case 'n': n = atoi(optarg); break; case 'e': empty = 1; break; default: return 2; }
  v += optind; if (c - optind != (empty ? 1 : 5)) return 2;
  double *total = calloc(n, sizeof *total), part[4][n];
  // The container is nobody's child when create has returned; as a shim does, its end is waited for here.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  for (int k = 0; k < n; k++) {
    double t[5] = {now()};
    if (empty) { char *words[] = {v[0], "", "", "", 0}; for (int i = 0; i < 3; i++) run(words); total[k] = now() - t[0]; continue; }
    char *create[] = {v[0], "--root", v[1], "create", "-b", v[2], "--pid-file", v[3], v[4], 0}; run(create); t[1] = now();
    pid_t pid = created(v[3]); int fd = syscall(SYS_pidfd_open, pid, 0); if (fd < 0) DIE("pidfd_open");
    char *start[] = {v[0], "--root", v[1], "start", v[4], 0}; run(start); t[2] = now();
    struct pollfd end = {fd, POLLIN}; if (poll(&end, 1, -1) != 1) DIE("poll"); close(fd); waitpid(pid, 0, 0); t[3] = now();
    char *delete[] = {v[0], "--root", v[1], "delete", v[4], 0}; run(delete); t[4] = now();
    total[k] = t[4] - t[0]; for (int i = 0; i < 4; i++) part[i][k] = t[i + 1] - t[i]; }
  qsort(total, n, sizeof *total, cmp);
  printf("{\"n\":%d,\"median_ms\":%.3f,\"min_ms\":%.3f,\"cpu_ms\":%.3f", n, total[n / 2], total[0], (cpu(RUSAGE_CHILDREN) + cpu(RUSAGE_SELF)) / n);
  static const char *names[] = {"create", "start", "wait", "delete"};
  for (int i = 0; i < 4 && !empty; i++) { qsort(part[i], n, sizeof(double), cmp); printf(",\"%s_ms\":%.3f", names[i], part[i][n / 2]); }
  puts("}");
  return 0; }
