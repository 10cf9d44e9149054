/* busybox's dnsd, which Debian's busybox is built without: answers questions for IPv4 addresses.
 *   dnsd [-c FILE] [-p PORT]    FILE, /etc/dnsd.conf or - for the standard input: lines of NAME ADDRESS */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { HEADER = 12, LABEL_MAX = 63, ADDRESS = 1, NAMES_MAX = 64 };
static const unsigned char record[] = {0xc0, HEADER, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
static struct { char name[256]; struct in_addr address; } known[NAMES_MAX];

/* Reads the name of a question; where it ends, or 0. */
static size_t read_name(const unsigned char *message, size_t len, char *name) {
    size_t at = HEADER, out = 0;
    while (at < len && message[at]) {
        size_t label = message[at++];
        if (label > LABEL_MAX || at + label >= len || out + label + 1 >= 256) return 0;
        if (out) name[out++] = '.';
        memcpy(name + out, message + at, label);
        out += label, at += label;
    }
    name[out] = 0;
    return at + 5 <= len ? at + 1 : 0;
}

int main(int argc, char **argv) {
    const char *conf = "/etc/dnsd.conf";
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(53)}, from;
    for (int option; (option = getopt(argc, argv, "c:p:")) != -1;) {
        if (option == 'c') conf = optarg;
        else if (option == 'p') here.sin_port = htons(atoi(optarg));
        else return 1;
    }
    FILE *file = strcmp(conf, "-") ? fopen(conf, "r") : stdin;
    char line[512], text[64];
    for (int count = 0; file && count < NAMES_MAX && fgets(line, sizeof line, file);)
        if (sscanf(line, "%255s %63s", known[count].name, text) == 2 &&
            inet_pton(AF_INET, text, &known[count].address) == 1)
            count++;
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (!file || bind(s, (void *)&here, sizeof here)) return perror("dnsd"), 1;
    for (;;) {
        unsigned char message[1024];
        char name[256];
        socklen_t size = sizeof from;
        ssize_t len = recvfrom(s, message, 512, 0, (void *)&from, &size);
        size_t end = len > HEADER ? read_name(message, len, name) : 0;
        if (!end) continue;
        int kind = message[end] << 8 | message[end + 1], at = 0;
        while (at < NAMES_MAX && strcasecmp(known[at].name, name)) at++;
        end += 4;
        message[2] |= 0x84;
        message[3] = at < NAMES_MAX ? 0 : 3;
        memset(message + 6, 0, 6);
        if (at < NAMES_MAX && kind == ADDRESS) {
            message[7] = 1;
            memcpy(message + end, record, sizeof record);
            memcpy(message + end + sizeof record, &known[at].address, 4);
            end += sizeof record + 4;
        }
        sendto(s, message, end, 0, (void *)&from, size);
    }
}
