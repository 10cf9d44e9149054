/* Loads for bench/net.py, and nothing else: a sink, streams, connections, questions.
 *   net sink PORT                          answers one byte with it, and drops streams, for ever
 *   net stream ADDRESS PORT SECONDS        megabits per second
 *   net connect ADDRESS PORT SECONDS       connections per second, each answered from behind
 *   net ask ADDRESS NAME SECONDS WINDOW    answers per second, p50 and p99 in microseconds
 * One thread each: what is measured is the way, not the ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in at(const char *address, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1) die("address");
    return a;
}

static void sink(int port) {
    static char buffer[1 << 18];
    struct sockaddr_in a = at("0.0.0.0", port);
    int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) die("listen");
    for (;;) {
        int c = accept(s, NULL, NULL);
        if (c < 0) continue;
        ssize_t n = read(c, buffer, sizeof buffer);
        if (n == 1) n = write(c, buffer, 1) - 1;
        while (n > 0) n = read(c, buffer, sizeof buffer);
        close(c);
    }
}

static int dial(struct sockaddr_in *a) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (void *)a, sizeof *a)) die("connect");
    return s;
}

static void stream(struct sockaddr_in a, double seconds) {
    static char buffer[1 << 17];
    int s = dial(&a);
    double begin = now(), end = begin + seconds;
    uint64_t sent = 0;
    while (now() < end) {
        ssize_t n = write(s, buffer, sizeof buffer);
        if (n <= 0) die("write");
        sent += n;
    }
    printf("%.1f\n", sent * 8 / (now() - begin) / 1e6);
}

static void connects(struct sockaddr_in a, double seconds) {
    struct linger hard = {1, 0};
    double begin = now(), end = begin + seconds;
    uint64_t done = 0;
    while (now() < end) {
        int s = dial(&a);
        char byte = 'x';
        /* Whoever merely accepts has not connected anybody. */
        if (write(s, &byte, 1) != 1 || read(s, &byte, 1) != 1) die("answer");
        /* Reset, so that no port lingers. */
        setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        close(s);
        done++;
    }
    printf("%.1f\n", done / (now() - begin));
}

static int ascending(const void *a, const void *b) {
    float x = *(float *)a, y = *(float *)b;
    return (x > y) - (x < y);
}

static size_t question(unsigned char *out, const char *name, uint16_t id) {
    unsigned char head[12] = {id >> 8, id & 255, 1, 0, 0, 1};
    memcpy(out, head, 12);
    size_t len = 12;
    for (const char *label = name; *label;) {
        size_t n = strcspn(label, ".");
        out[len++] = n;
        memcpy(out + len, label, n);
        len += n;
        label += n + (label[n] == '.');
    }
    memcpy(out + len, "\0\0\1\0\1", 5);
    return len + 5;
}

static void ask(const char *address, const char *name, double seconds, int window) {
    enum { MOST = 4 << 20 };
    static double sent[65536];
    float *times = malloc(sizeof(float) * MOST);
    struct sockaddr_in a = at(address, 53);
    int s = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (connect(s, (void *)&a, sizeof a)) die("connect");
    double begin = now(), end = begin + seconds;
    uint16_t id = 0;
    int under_way = 0;
    size_t got = 0, lost = 0;
    unsigned char bytes[1500];
    while (now() < end && got < MOST) {
        while (under_way < window) {
            size_t len = question(bytes, name, id);
            sent[id] = now();
            if (send(s, bytes, len, 0) < 0) die("send");
            id++;
            under_way++;
        }
        struct pollfd p = {s, POLLIN, 0};
        if (poll(&p, 1, 500) == 0) {
            lost += under_way;
            under_way = 0;
            continue;
        }
        while (recv(s, bytes, sizeof bytes, MSG_DONTWAIT) > 12) {
            if ((bytes[3] & 15) != 0 || bytes[7] == 0) {
                fprintf(stderr, "no such name\n");
                exit(1);
            }
            times[got++] = (now() - sent[bytes[0] << 8 | bytes[1]]) * 1e6;
            under_way--;
            if (got == MOST) break;
        }
    }
    double took = now() - begin;
    qsort(times, got, sizeof *times, ascending);
    printf("%.0f %.1f %.1f %zu\n", got / took, times[got / 2], times[got * 99 / 100], lost);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "sink")) sink(atoi(argv[2]));
    else if (argc == 5 && !strcmp(argv[1], "stream")) stream(at(argv[2], atoi(argv[3])), atof(argv[4]));
    else if (argc == 5 && !strcmp(argv[1], "connect"))
        connects(at(argv[2], atoi(argv[3])), atof(argv[4]));
    else if (argc == 6 && !strcmp(argv[1], "ask"))
        ask(argv[2], argv[3], atof(argv[4]), atoi(argv[5]));
    else return fprintf(stderr, "net sink|stream|connect|ask …\n"), 2;
    return 0;
}
