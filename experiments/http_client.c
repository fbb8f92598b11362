/* The one file that knows libcurl. Without it at build time a client cannot be opened, and says so.
 *
 * One thread drives all fetches (curl_multi). A fetch is queued under the lock; from then on it belongs to
 * that thread until its `done` returned. */
#include "experiments/http_client.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *keel_http_trouble_name(keel_http_trouble trouble) {
    static const char *const names[] = {
#define X(NAME, name) name,
        KEEL_HTTP_TROUBLES(X)
#undef X
    };
    return names[trouble];
}

/* ---- addresses ---- */

static const char *after_scheme(const char *url) {
    return strncasecmp(url, "http://", 7) == 0    ? url + 7
           : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                  : NULL;
}

keel_status keel_http_client_url(const char *url, const char *where, keel_err *err) {
    const char *host = after_scheme(url);
    const size_t n = host ? strcspn(host, "/") : 0;
    if (!host || n == 0 || *host == ':')
        return keel_fail(err, KEEL_E_USAGE, where, "expected an address such as http://127.0.0.1:8000/v1");
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7F || strchr("\\\"<>{}|^`", *c))
            return keel_fail(err, KEEL_E_USAGE, where,
                             "an address has no white space and no other signs than ASCII's");
    if (memchr(host, '@', n))
        return keel_fail(err, KEEL_E_USAGE, where,
                         "an address has no user and no password in it, which would be shown with it");
    if (strpbrk(url, "?#"))
        return keel_fail(err, KEEL_E_USAGE, where,
                         "an address has no query ('?') and no fragment ('#') here");
    return KEEL_OK;
}

size_t keel_http_client_root(const char *url) {
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/') n--;
    return n > 3 && memcmp(url + n - 3, "/v1", 3) == 0 ? n - 3 : n;
}

static bool one_word(const char *text) {
    while ((unsigned char)*text > ' ' && *text != 0x7F) text++;
    return !*text;
}

keel_status keel_http_client_key(const char *variable, const char *where, const char **out, keel_err *err) {
    const char *key = getenv(variable);
    if (!key || !*key)
        return keel_fail(err, KEEL_E_USAGE, where,
                         "the environment variable %.60s, which is to hold the key, is not set", variable);
    if (!one_word(key))
        return keel_fail(err, KEEL_E_USAGE, where, "the key in %.60s has white space or control characters",
                         variable);
    *out = key;
    return KEEL_OK;
}

#if !KEEL_HAVE_CURL

keel_status keel_http_client_open(keel_http_client **out, keel_err *err) {
    *out = NULL;
    keel_fail(err, KEEL_E_UNSUPPORTED, "HTTP",
              "this keel was built without libcurl, which asks other servers");
    return keel_hint(err, "install the package libcurl4-openssl-dev, then configure and build again");
}

keel_status keel_http_client_start(keel_http_client *client, const keel_http_fetch *fetch, keel_err *err) {
    (void)client, (void)fetch;
    return keel_fail(err, KEEL_E_UNSUPPORTED, "HTTP", "there is no client");
}

keel_status keel_http_client_ask(keel_http_client *client, const keel_http_fetch *fetch, keel_arena *arena,
                                 keel_http_got *got, keel_err *err) {
    (void)arena, (void)got;
    return keel_http_client_start(client, fetch, err);
}

void keel_http_client_close(keel_http_client *client) {
    (void)client;
}

#else

#include <arpa/inet.h>
#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/context.h"
#include "core/interrupt.h"

enum {
    LOOK_MS = 20 /* between looks at whether somebody still waits */,
    IDLE_MS = 1000,
    KEPT = 64,
    MOST_OPEN = 1024
};

typedef struct fetching {
    struct fetching *next;
    keel_http_fetch fetch;
    CURL *easy;
    struct curl_slist *headers;
    keel_buf body;
    size_t length; /* bytes that came */
    double began;
    keel_http_trouble cause; /* that ended it from our side; NONE: nothing did */
    char words[CURL_ERROR_SIZE];
} fetching;

struct keel_http_client {
    pthread_t thread;
    pthread_mutex_t lock;
    CURLM *multi;
    const keel_context *context;
    fetching *queued; /* newest first; under the lock, as is closing */
    bool closing;
    fetching *running; /* the thread's own */
};

/* ---- a fetch ---- */

static bool is_stream(CURL *easy) {
    static const char wanted[] = "text/event-stream";
    const char *type = NULL;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    return status == 200 && type && strncasecmp(type, wanted, sizeof wanted - 1) == 0;
}

static size_t write_body(char *bytes, size_t size, size_t count, void *context) {
    fetching *f = context;
    const size_t length = size * count;
    if (length > f->fetch.most - f->length) {
        f->cause = KEEL_HTTP_LARGE;
        return 0;
    }
    f->length += length;
    if (f->fetch.took && is_stream(f->easy)) {
        if (!f->fetch.took(f->fetch.context, bytes, length)) f->cause = KEEL_HTTP_NONSENSE;
    } else {
        keel_buf_append(&f->body, bytes, length);
        if (f->body.failed) f->cause = KEEL_HTTP_LARGE;
    }
    return f->cause ? 0 : length;
}

/* The host as a whole: localhost.example.com is not here. */
static bool is_loopback(const char *url) {
    char host[64];
    const char *from = after_scheme(url);
    const size_t n = *from == '[' ? strcspn(from, "]") + 1 : strcspn(from, ":/");
    if (n >= sizeof host) return false;
    memcpy(host, from, n);
    host[n] = '\0';
    return strcmp(host, "[::1]") == 0 || strcasecmp(host, "localhost") == 0 ||
           ntohl(inet_addr(host)) >> 24 == 127;
}

static bool add_header(fetching *f, const char *header) {
    struct curl_slist *grown = curl_slist_append(f->headers, header);
    if (grown) f->headers = grown;
    return grown;
}

static bool add_headers(fetching *f) {
    bool ok = add_header(f, "Expect:") && add_header(f, "Accept: application/json, text/event-stream");
    if (f->fetch.body) ok = ok && add_header(f, "Content-Type: application/json");
    for (const char *const *header = f->fetch.headers; header && *header; header++)
        ok = ok && add_header(f, *header);
    if (f->fetch.token && *f->fetch.token) {
        keel_buf line = {0};
        keel_buf_format(&line, "Authorization: Bearer %s", f->fetch.token);
        ok = ok && !line.failed && add_header(f, line.data);
        keel_buf_free(&line);
    }
    return ok && curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers) == CURLE_OK;
}

static bool set_up(fetching *f, double left) {
    CURL *e = f->easy;
    const double ms = fmin(ceil(left * 1000), 1e9);
    bool ok = curl_easy_setopt(e, CURLOPT_URL, f->fetch.url) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK; /* waits for no look-up of a name */
    ok = ok && curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)ms) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->words) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, write_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_WRITEDATA, f) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_PRIVATE, f) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_USERAGENT, "keel") == CURLE_OK;
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS); /* where libcurl has it */
    if (is_loopback(f->fetch.url)) ok = ok && curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
    if (f->fetch.body) {
        ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->fetch.length) == CURLE_OK;
        ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->fetch.body) == CURLE_OK;
    }
    return ok && add_headers(f);
}

/* ---- what became of it ---- */

static keel_http_trouble by_code(CURLcode code, bool connected) {
    switch (code) {
    case CURLE_OK:
        return KEEL_HTTP_NONE;
    case CURLE_OPERATION_TIMEDOUT:
        return connected ? KEEL_HTTP_SLOW : KEEL_HTTP_DEAD;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return KEEL_HTTP_CUT;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return KEEL_HTTP_NONSENSE;
    case CURLE_OUT_OF_MEMORY:
        return KEEL_HTTP_FAILED;
    default:
        return connected ? KEEL_HTTP_CUT : KEEL_HTTP_DEAD;
    }
}

static keel_http_trouble by_status(long status) {
    if (status >= 200 && status < 300) return KEEL_HTTP_NONE;
    return status >= 300 && status < 400   ? KEEL_HTTP_REDIRECT
           : status >= 400 && status < 500 ? KEEL_HTTP_REFUSED
                                           : KEEL_HTTP_FAILED;
}

static void put_words(fetching *f, keel_http_trouble trouble, CURLcode code, long status) {
    switch (trouble) {
    case KEEL_HTTP_NONE:
        f->words[0] = '\0';
        return;
    case KEEL_HTTP_SLOW:
        snprintf(f->words, sizeof f->words, "no answer within %.3g s", f->fetch.deadline - f->began);
        return;
    case KEEL_HTTP_LARGE:
        snprintf(f->words, sizeof f->words, "the answer has more than %zu bytes", f->fetch.most);
        return;
    case KEEL_HTTP_REDIRECT:
        snprintf(f->words, sizeof f->words, "it answers %ld: redirects are not followed", status);
        return;
    case KEEL_HTTP_CANCELLED:
        snprintf(f->words, sizeof f->words, "nobody waits for it any more");
        return;
    default:
        break;
    }
    if (code == CURLE_OK) snprintf(f->words, sizeof f->words, "it answers %ld", status);
    if (!f->words[0]) snprintf(f->words, sizeof f->words, "%s", curl_easy_strerror(code));
}

static void free_fetching(fetching *f) {
    curl_slist_free_all(f->headers);
    if (f->easy) curl_easy_cleanup(f->easy);
    keel_buf_free(&f->body);
    keel_free(f);
}

/* Tells, and forgets the fetch, which is in no list any more. */
static void finish(fetching *f, CURLcode code) {
    long status = 0;
    char *type = NULL;
    curl_off_t connected = 0;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(f->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    keel_http_trouble trouble = f->cause ? f->cause : by_code(code, connected > 0);
    if (trouble == KEEL_HTTP_NONE) trouble = by_status(status);
    put_words(f, trouble, code, status);
    const keel_http_got got = {.trouble = trouble,
                               .status = (int)status,
                               .type = type,
                               .streamed = f->fetch.took && is_stream(f->easy),
                               .body = &f->body,
                               .seconds = keel_clock() - f->began,
                               .words = f->words};
    f->fetch.done(f->fetch.context, &got);
    free_fetching(f);
}

/* ---- the thread ---- */

static void begin(keel_http_client *client, fetching *f) {
    const double left = f->fetch.deadline - keel_clock();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (left <= 0) f->cause = KEEL_HTTP_SLOW;
    if (left > 0 && set_up(f, left) && curl_multi_add_handle(client->multi, f->easy) == CURLM_OK) {
        f->next = client->running;
        client->running = f;
        return;
    }
    finish(f, code);
}

/* Takes what was queued, oldest first. */
static bool begin_queued(keel_http_client *client) {
    fetching *oldest = NULL;
    pthread_mutex_lock(&client->lock);
    while (client->queued) {
        fetching *f = client->queued;
        client->queued = f->next;
        f->next = oldest;
        oldest = f;
    }
    const bool closing = client->closing;
    pthread_mutex_unlock(&client->lock);
    while (oldest) {
        fetching *f = oldest;
        oldest = f->next;
        begin(client, f);
    }
    return !closing;
}

static void end(keel_http_client *client, fetching *f, CURLcode code) {
    fetching **at = &client->running;
    while (*at != f) at = &(*at)->next;
    *at = f->next;
    curl_multi_remove_handle(client->multi, f->easy);
    finish(f, code);
}

static void end_finished(keel_http_client *client) {
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left));) {
        char *f = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        const CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &f);
        end(client, (fetching *)(void *)f, code);
    }
}

/* Ends what nobody waits for; all: everything. */
static void end_gone(keel_http_client *client, bool all) {
    for (fetching *f = client->running, *next; f; f = next) {
        next = f->next;
        if (!all && !(f->fetch.gone && f->fetch.gone(f->fetch.context))) continue;
        f->cause = KEEL_HTTP_CANCELLED;
        end(client, f, CURLE_ABORTED_BY_CALLBACK);
    }
}

static void *run(void *argument) {
    keel_http_client *client = argument;
    double looked = 0;
    int running;
    keel_context_use(client->context);
    while (begin_queued(client)) {
        curl_multi_perform(client->multi, &running);
        end_finished(client);
        const double now = keel_clock();
        if (now - looked >= LOOK_MS / 1000.0) {
            end_gone(client, false);
            looked = now;
        }
        curl_multi_poll(client->multi, NULL, 0, client->running ? LOOK_MS : IDLE_MS, NULL);
    }
    end_gone(client, true);
    return NULL;
}

/* ---- the door ---- */

static void begin_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

keel_status keel_http_client_open(keel_http_client **out, keel_err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_curl);
    keel_http_client *client = *out = keel_calloc(1, sizeof *client);
    if (!client) return keel_nomem(err, "HTTP");
    client->context = keel_context_current();
    client->multi = curl_multi_init();
    pthread_mutex_init(&client->lock, NULL);
    bool ok = client->multi &&
              curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)KEPT) == CURLM_OK &&
              curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MOST_OPEN) == CURLM_OK;
    if (ok && pthread_create(&client->thread, NULL, run, client) == 0) return KEEL_OK;
    if (client->multi) curl_multi_cleanup(client->multi);
    pthread_mutex_destroy(&client->lock);
    keel_free(client);
    *out = NULL;
    return keel_fail(err, KEEL_E_NOMEM, "HTTP",
                     "no thread could be started for what is asked of other servers");
}

static bool one_line(const char *text) {
    for (; text && *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7F) return false;
    return true;
}

keel_status keel_http_client_start(keel_http_client *client, const keel_http_fetch *fetch, keel_err *err) {
    KEEL_TRY(keel_http_client_url(fetch->url, "HTTP", err));
    if (!one_line(fetch->token))
        return keel_fail(err, KEEL_E_INVALID, "HTTP", "a key is one line without control characters");
    for (const char *const *header = fetch->headers; header && *header; header++)
        if (!one_line(*header)) return keel_fail(err, KEEL_E_INVALID, "HTTP", "a header is one line");
    fetching *f = keel_calloc(1, sizeof *f);
    if (f) f->easy = curl_easy_init();
    if (!f || !f->easy) {
        keel_free(f);
        return keel_nomem(err, "HTTP");
    }
    f->fetch = *fetch;
    f->began = keel_clock();
    pthread_mutex_lock(&client->lock);
    const bool closing = client->closing;
    if (!closing) {
        f->next = client->queued;
        client->queued = f;
        curl_multi_wakeup(client->multi);
    }
    pthread_mutex_unlock(&client->lock);
    if (!closing) return KEEL_OK;
    free_fetching(f);
    return keel_fail(err, KEEL_E_INTERRUPTED, "HTTP", "the client is closing");
}

void keel_http_client_close(keel_http_client *client) {
    if (!client) return;
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_mutex_unlock(&client->lock);
    curl_multi_wakeup(client->multi);
    pthread_join(client->thread, NULL);
    curl_multi_cleanup(client->multi);
    pthread_mutex_destroy(&client->lock);
    keel_free(client);
}

/* ---- asking and waiting ---- */

typedef struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished;
    keel_arena *arena;
    keel_http_got *got;
    keel_buf body;
} waiting;

static bool interrupted(void *context) {
    (void)context;
    return keel_interrupted();
}

static void hand_over(void *context, const keel_http_got *got) {
    waiting *w = context;
    pthread_mutex_lock(&w->lock);
    *w->got = *got;
    w->got->type = keel_arena_strdup(w->arena, got->type);
    w->got->words = keel_arena_strdup(w->arena, got->words);
    w->body = *got->body; /* taken over */
    *got->body = (keel_buf){0};
    w->finished = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

/* What came, into the arena. */
static bool keep(waiting *w) {
    keel_buf *body = keel_arena_calloc(w->arena, 1, sizeof *body);
    if (body) body->data = keel_arena_strndup(w->arena, w->body.data ? w->body.data : "", w->body.length);
    if (body) body->length = w->body.length;
    w->got->body = body;
    return body && body->data && w->got->words;
}

keel_status keel_http_client_ask(keel_http_client *client, const keel_http_fetch *fetch, keel_arena *arena,
                                 keel_http_got *got, keel_err *err) {
    waiting w = {.arena = arena, .got = got};
    keel_http_fetch mine = *fetch;
    mine.gone = interrupted;
    mine.took = NULL;
    mine.done = hand_over;
    mine.context = &w;
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.done, NULL);
    keel_status status = keel_http_client_start(client, &mine, err);
    pthread_mutex_lock(&w.lock);
    while (status == KEEL_OK && !w.finished) pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    if (status == KEEL_OK && !keep(&w)) status = keel_nomem(err, "HTTP");
    if (status == KEEL_OK && got->trouble == KEEL_HTTP_CANCELLED)
        status = keel_fail(err, KEEL_E_INTERRUPTED, "HTTP", "interrupted");
    keel_buf_free(&w.body);
    pthread_cond_destroy(&w.done);
    pthread_mutex_destroy(&w.lock);
    return status;
}

#endif
