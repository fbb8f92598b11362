/* A server on loopback for tests: each connection gets a thread, each request of it a call of the test's
 * function, which writes whatever bytes it likes. */
#ifndef KEEL_TESTS_FAKE_SERVER_H
#define KEEL_TESTS_FAKE_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* request: the whole of it, ended by a 0. false: the connection is closed. */
typedef bool fake_answer(int peer, const char *request);

typedef struct fake_server {
    int socket;
    pthread_t thread;
    fake_answer *answer;
    atomic_size_t connections, requests;
    char url[64]; /* "http://127.0.0.1:PORT" */
} fake_server;

typedef struct fake_peer {
    fake_server *server;
    int socket;
} fake_peer;

static inline void fake_sleep(int ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static inline void fake_say(int peer, const char *text) {
    for (size_t left = strlen(text); left > 0;) {
        const ssize_t n = send(peer, text, left, MSG_NOSIGNAL);
        if (n <= 0) return;
        text += n;
        left -= (size_t)n;
    }
}

/* A whole response with its length. */
static inline void fake_say_body(int peer, const char *status, const char *type, const char *body) {
    char head[256];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status,
             type, strlen(body));
    fake_say(peer, head);
    fake_say(peer, body);
}

/* Waits until the peer hangs up, or so many milliseconds; whether it did. */
static inline bool fake_hung_up(int peer, int ms) {
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    char byte;
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    return recv(peer, &byte, 1, 0) == 0;
}

/* The next request, on the heap; NULL: there is none. */
static inline char *fake_request(int peer) {
    size_t room = 1 << 16, n = 0, wanted = 0;
    char *text = malloc(room);
    while (text && (wanted == 0 || n < wanted)) {
        if (n + 1 == room && !(text = realloc(text, room *= 2))) abort();
        const ssize_t got = recv(peer, text + n, room - n - 1, 0);
        if (got <= 0) {
            free(text);
            return NULL;
        }
        text[n += (size_t)got] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
        if (end)
            wanted = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 16, NULL, 10) : 0);
    }
    return text;
}

static inline void *fake_talk(void *argument) {
    fake_peer peer = *(fake_peer *)argument;
    bool more = true;
    free(argument);
    for (char *request; more && (request = fake_request(peer.socket)); free(request)) {
        peer.server->requests++;
        more = peer.server->answer(peer.socket, request);
    }
    close(peer.socket);
    peer.server->connections--;
    return NULL;
}

static inline void *fake_accept(void *argument) {
    fake_server *server = argument;
    for (int socket; (socket = accept(server->socket, NULL, NULL)) >= 0;) {
        fake_peer *peer = malloc(sizeof *peer);
        pthread_t thread;
        if (!peer) abort();
        *peer = (fake_peer){server, socket};
        server->connections++;
        if (pthread_create(&thread, NULL, fake_talk, peer) != 0) abort();
        pthread_detach(thread);
    }
    return NULL;
}

static inline void fake_start(fake_server *server, fake_answer *answer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *server = (fake_server){.socket = socket(AF_INET, SOCK_STREAM, 0), .answer = answer};
    if (bind(server->socket, (struct sockaddr *)&address, length) != 0 || listen(server->socket, 64) != 0 ||
        getsockname(server->socket, (struct sockaddr *)&address, &length) != 0)
        abort();
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    if (pthread_create(&server->thread, NULL, fake_accept, server) != 0) abort();
}

/* After all that ask it hung up. */
static inline void fake_stop(fake_server *server) {
    shutdown(server->socket, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->socket);
    for (int i = 0; i < 5000 && server->connections > 0; i++)
        fake_sleep(1); /* a test that failed leaves some */
}

#endif
