/* Load on a server that speaks HTTP/1.1, and what it does with it:
 *
 *     bench_serve HOST:PORT [--path PATH] [--body FILE] [--get] [--token ENV] [--connections N]
 *                 [--requests N] [--warm N] [--idle N] [--pid PID]
 *
 * N connections (32) are kept open and ask one request after the other, REQUESTS (20000) in all after WARM
 * (500) that are not counted: so each waits for its answer, and the rate is what the server can do at N at
 * once. Bodies are the lines of FILE in turn; without one they are requests to /v1/choose with five
 * candidates, each with a number in its text, so that none is the same as another. IDLE more connections are
 * opened first and say nothing. PID: the server's, whose resident memory is printed ten times.
 *
 * Prints the rate, percentiles of the time from a request's first byte to its answer's last, and errors:
 * answers with another status than 200, and connections that failed. Exits with 1 if there were any. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"

enum { MOST_ANSWER = 1 << 20, EVENTS = 256, BODIES = 997, TENTHS = 10 };

typedef struct client {
    int socket;
    bool idle;
    char *out, *in; /* [out_length], [MOST_ANSWER] ended by a 0 */
    size_t out_length, sent, got;
    double began;
} client;

typedef struct load {
    struct sockaddr_in to;
    const char *host, *path, *token;
    bool get;
    char **bodies;
    size_t n_bodies, connections, idle, warm, requests;
    long pid;
    int loop;
    client *clients;
    size_t asked, answered, bad_status, broken;
    float *times; /* [requests] milliseconds */
    double began, ended;
    int last_status;
} load;

static void give_up(const char *what) {
    fprintf(stderr, "bench_serve: %s: %s\n", what, errno ? strerror(errno) : "wrong use");
    exit(2);
}

static void *room(size_t count, size_t size) {
    void *out = calloc(count + 1, size);
    if (!out) give_up("memory");
    return out;
}

/* ---- bodies ---- */

static void make_bodies(load *l) {
    static const char *const answers[] = {
        "I am sorry, but I cannot help with that.", "Sure. First check the cable, then restart the router.",
        "Could you tell me which model you have?", "Please call our support line, they can open a ticket.",
        "Your order was sent yesterday and arrives within two days."};
    l->n_bodies = BODIES;
    l->bodies = room(BODIES, sizeof *l->bodies);
    for (size_t i = 0; i < BODIES; i++) {
        char *at = l->bodies[i] = room(2048, 1);
        at += sprintf(at,
                      "{\"messages\":[{\"role\":\"user\",\"content\":\"Order %zu is late and the router of "
                      "customer %zu blinks red. What can I do?\"}],\"candidates\":[",
                      i * 7919, i);
        for (size_t k = 0; k < sizeof answers / sizeof *answers; k++)
            at += sprintf(at, "%s\"%s (case %zu)\"", k ? "," : "", answers[k], i * 31 + k);
        sprintf(at, "]}");
    }
}

static void read_bodies(load *l, const char *path) {
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t size = 0, capacity = 0;
    ssize_t length;
    if (!file) give_up(path);
    while ((length = getline(&line, &size, file)) > 0) {
        if (line[length - 1] == '\n') line[length - 1] = '\0';
        if (l->n_bodies == capacity) {
            capacity = capacity ? 2 * capacity : 256;
            l->bodies = realloc(l->bodies, capacity * sizeof *l->bodies);
            if (!l->bodies) give_up("memory");
        }
        l->bodies[l->n_bodies++] = line;
        line = NULL;
        size = 0;
    }
    free(line);
    fclose(file);
    if (!l->n_bodies) give_up(path);
}

/* ---- connections ---- */

static void watch(load *l, client *c, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->loop, how, c->socket, &event) != 0) give_up("epoll");
}

static bool dial(load *l, client *c) {
    const int one = 1;
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0) give_up("socket");
    if (connect(c->socket, (const struct sockaddr *)&l->to, sizeof l->to) != 0) return false;
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
    watch(l, c, EPOLLIN, EPOLL_CTL_ADD);
    return true;
}

static void write_out(load *l, client *c) {
    while (c->sent < c->out_length) {
        const ssize_t n = send(c->socket, c->out + c->sent, c->out_length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(l, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return;
        }
        if (n <= 0) return; /* what is read says it */
        c->sent += (size_t)n;
    }
}

static void ask(load *l, client *c) {
    if (l->asked >= l->warm + l->requests) return;
    const char *body = l->get ? "" : l->bodies[l->asked % l->n_bodies];
    const size_t length = strlen(body);
    if (l->asked++ == l->warm) l->began = keel_clock();
    free(c->out);
    c->out = room(length + 1024, 1);
    int n = snprintf(c->out, 1024, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s", l->get ? "GET" : "POST", l->path,
                     l->host, l->token ? "Authorization: Bearer " : "", l->token ? l->token : "",
                     l->token ? "\r\n" : "");
    n += l->get ? sprintf(c->out + n, "\r\n")
                : sprintf(c->out + n, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          length, body);
    c->out_length = (size_t)n;
    c->sent = c->got = 0;
    c->began = keel_clock();
    write_out(l, c);
}

static void start_again(load *l, client *c) {
    close(c->socket);
    if (dial(l, c))
        ask(l, c);
    else
        give_up("connect");
}

/* ---- answers ---- */

/* Bytes of the answer with its headers; 0: not yet known; SIZE_MAX: nonsense. */
static size_t answer_length(const client *c, int *status) {
    const char *end = strstr(c->in, "\r\n\r\n");
    if (!end) return c->got >= MOST_ANSWER ? SIZE_MAX : 0;
    if (sscanf(c->in, "HTTP/1.1 %d", status) != 1) return SIZE_MAX;
    for (const char *at = c->in; at < end; at = strstr(at, "\r\n") + 2)
        if (strncasecmp(at, "Content-Length:", 15) == 0)
            return (size_t)(end - c->in) + 4 + strtoul(at + 15, NULL, 10);
    return SIZE_MAX;
}

static void print_memory(const load *l, size_t done) {
    char path[64];
    unsigned long pages = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", l->pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lu %lu", &pages, &resident) != 2) give_up(path);
    fclose(file);
    printf("%zu requests: %.1f MB\n", done, (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6);
    fflush(stdout);
}

static void finish(load *l, client *c, int status) {
    const size_t at = l->answered++;
    const double now = keel_clock();
    if (status != 200) {
        if (l->bad_status++ == 0) fprintf(stderr, "%.400s\n", c->in);
        l->last_status = status;
    }
    if (at >= l->warm) {
        l->times[at - l->warm] = (float)((now - c->began) * 1e3);
        l->ended = now;
        const size_t done = at - l->warm + 1;
        if (l->pid && (done == 1 || done % (l->requests / TENTHS + 1) == 0 || done == l->requests))
            print_memory(l, done);
    }
    ask(l, c);
}

static void read_in(load *l, client *c) {
    int status = 0;
    const ssize_t n = recv(c->socket, c->in + c->got, MOST_ANSWER - c->got, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        l->broken++;
        l->answered++;
        if (l->broken > l->connections + 1000) give_up("the server closes connections");
        start_again(l, c);
        return;
    }
    c->in[c->got += (size_t)n] = '\0';
    const size_t length = answer_length(c, &status);
    if (length == SIZE_MAX || length > MOST_ANSWER)
        give_up("the server's answer is no HTTP that is understood");
    if (length && c->got >= length) finish(l, c, status);
}

/* ---- the run ---- */

static void run(load *l) {
    struct epoll_event events[EVENTS];
    l->clients = room(l->connections + l->idle, sizeof *l->clients);
    l->times = room(l->requests, sizeof *l->times);
    l->loop = epoll_create1(0);
    for (size_t i = 0; i < l->idle; i++) {
        l->clients[i].idle = true;
        if (!dial(l, &l->clients[i])) give_up("connect");
    }
    for (size_t i = l->idle; i < l->idle + l->connections; i++) {
        l->clients[i].in = room(MOST_ANSWER, 1);
        if (!dial(l, &l->clients[i])) give_up("connect");
        ask(l, &l->clients[i]);
    }
    while (l->answered < l->warm + l->requests) {
        const int n = epoll_wait(l->loop, events, EVENTS, 60000);
        if (n <= 0) give_up("no answer within a minute");
        for (int i = 0; i < n; i++) {
            client *c = events[i].data.ptr;
            if (c->idle) {
                l->broken++;
                epoll_ctl(l->loop, EPOLL_CTL_DEL, c->socket, NULL);
                continue;
            }
            if (events[i].events & EPOLLOUT) {
                watch(l, c, EPOLLIN, EPOLL_CTL_MOD);
                write_out(l, c);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT) read_in(l, c);
        }
    }
}

static int compare(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print(load *l) {
    const size_t n = l->requests;
    qsort(l->times, n, sizeof *l->times, compare);
    printf("connections %zu, idle %zu, requests %zu, seconds %.2f, requests/s %.0f\n", l->connections,
           l->idle, n, l->ended - l->began, (double)n / (l->ended - l->began));
    printf("ms: p50 %.2f, p90 %.2f, p99 %.2f, max %.2f\n", (double)l->times[n / 2],
           (double)l->times[n * 9 / 10], (double)l->times[n * 99 / 100], (double)l->times[n - 1]);
    printf("errors: %zu by status", l->bad_status);
    if (l->bad_status) printf(" (the last: %d)", l->last_status);
    printf(", %zu broken connections\n", l->broken);
}

static void allow_files(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static void read_target(load *l, const char *text) {
    char host[64];
    unsigned target = 0;
    l->host = text;
    l->to = (struct sockaddr_in){.sin_family = AF_INET};
    if (sscanf(text, "%63[0-9.]:%u", host, &target) != 2 || inet_pton(AF_INET, host, &l->to.sin_addr) != 1)
        give_up("expected HOST:PORT with an IPv4 address");
    l->to.sin_port = htons((uint16_t)target);
}

static bool read_number(load *l, const char *flag, size_t number) {
    const struct {
        const char *flag;
        size_t *to;
    } rows[] = {{"--connections", &l->connections},
                {"--requests", &l->requests},
                {"--warm", &l->warm},
                {"--idle", &l->idle}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(flag, rows[i].flag) == 0) {
            *rows[i].to = number;
            return true;
        }
    return false;
}

/* The file of bodies, or NULL. */
static const char *read_flags(load *l, char **flags) {
    const char *body = NULL;
    for (; *flags; flags++) {
        const char *flag = *flags;
        if (strcmp(flag, "--get") == 0) {
            l->get = true;
            continue;
        }
        const char *value = *++flags;
        if (!value) give_up(flag);
        if (strcmp(flag, "--path") == 0)
            l->path = value;
        else if (strcmp(flag, "--body") == 0)
            body = value;
        else if (strcmp(flag, "--token") == 0)
            l->token = getenv(value);
        else if (strcmp(flag, "--pid") == 0)
            l->pid = strtol(value, NULL, 10);
        else if (!read_number(l, flag, strtoul(value, NULL, 10)))
            give_up(flag);
    }
    return body;
}

int main(int argc, char **argv) {
    load l = {.path = "/v1/choose", .connections = 32, .requests = 20000, .warm = 500};
    if (argc < 2) give_up("expected HOST:PORT");
    read_target(&l, argv[1]);
    const char *body = read_flags(&l, argv + 2);
    if (!l.connections || !l.requests || l.requests + l.warm < l.connections) give_up("too few requests");
    allow_files();
    if (body)
        read_bodies(&l, body);
    else
        make_bodies(&l);
    run(&l);
    print(&l);
    return l.bad_status || l.broken ? 1 : 0;
}
