/* An upstream for measuring what stands in front of it: an OpenAI-compatible server that answers every chat
 * completion at once, or after a fixed time, with n short choices. One thread a connection.
 *
 *   bench_upstream [PORT [MILLISECONDS]]     prints its port */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 1 << 20, RESPONSE = 1 << 14, MOST = 16 };

static struct timespec pause_time;

/* Reads a request of a known length; returns 0 when the peer hung up, or sends what is no such request. */
static size_t read_request(int peer, char *text, size_t *kept) {
    size_t n = *kept, wanted = 0;
    for (;;) {
        text[n] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length:");
        if (!length) length = strstr(text, "content-length:");
        if (end)
            wanted = (size_t)(end + 4 - text) + (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
        if (wanted > REQUEST - 1) return 0;
        if (end && n >= wanted) break;
        const ssize_t got = n < REQUEST - 1 ? recv(peer, text + n, REQUEST - 1 - n, 0) : 0;
        if (got <= 0) return 0;
        n += (size_t)got;
    }
    *kept = n - wanted;
    return wanted;
}

static size_t write_response(const char *request, char *out) {
    const char *n_at = strstr(request, "\"n\":");
    long n = n_at ? strtol(n_at + 4, NULL, 10) : 1;
    char body[RESPONSE - 256];
    size_t length = (size_t)snprintf(
        body, sizeof body,
        "{\"id\":\"x\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"bench\",\"choices\":[");
    if (n < 1 || n > MOST) n = 1;
    for (long i = 0; i < n; i++)
        length += (size_t)snprintf(
            body + length, sizeof body - length,
            "%s{\"index\":%ld,\"message\":{\"role\":\"assistant\",\"content\":\"This is answer %ld, of some "
            "twenty words, as a model may write one for a person who asks it about a small thing.\"},\"finish_reason\":\"stop\"}",
            i ? "," : "", i, i);
    length +=
        (size_t)snprintf(body + length, sizeof body - length,
                         "],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":%ld,\"total_tokens\":%ld}}",
                         25 * n, 20 + 25 * n);
    return (size_t)snprintf(
        out, RESPONSE, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        length, body);
}

static void *serve(void *argument) {
    const int peer = (int)(intptr_t)argument, on = 1;
    char *request = malloc(REQUEST), *response = malloc(RESPONSE);
    size_t kept = 0;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t used; request && response && (used = read_request(peer, request, &kept)) > 0;) {
        const size_t length = write_response(request, response);
        memmove(request, request + used, kept);
        if (pause_time.tv_sec || pause_time.tv_nsec) nanosleep(&pause_time, NULL);
        if (send(peer, response, length, MSG_NOSIGNAL) != (ssize_t)length) break;
    }
    free(request);
    free(response);
    close(peer);
    return NULL;
}

int main(int argc, char **argv) {
    const long ms = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int door = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(door, (struct sockaddr *)&address, length) != 0 || listen(door, 512) != 0 ||
        getsockname(door, (struct sockaddr *)&address, &length) != 0) {
        perror("bench_upstream");
        return 1;
    }
    pause_time = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (int peer; (peer = accept(door, NULL, NULL)) >= 0;) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)peer) == 0)
            pthread_detach(thread);
        else
            close(peer);
    }
    return 0;
}
