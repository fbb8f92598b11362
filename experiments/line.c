#include "experiments/line.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/interrupt.h"
#include "core/text.h"

#if KEEL_HAVE_LIBEDIT
#include <histedit.h>

static EditLine *editor;
static History *past;
static const char *prompt_now;

static char *prompt_of(EditLine *el) {
    (void)el;
    return (char *)(uintptr_t)prompt_now;
}

static bool open_editor(void) {
    HistEvent event;
    if (editor && past) return true;
    editor = el_init("keel", stdin, stdout, stderr);
    past = history_init();
    if (!editor || !past) {
        keel_line_close();
        return false;
    }
    history(past, &event, H_SETSIZE, 200);
    el_set(editor, EL_PROMPT, prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, past);
    return true;
}

/* *length 0: the end. */
static const char *edited(const char *prompt, size_t *length) {
    HistEvent event;
    int n = 0;
    prompt_now = prompt;
    const char *line = el_gets(editor, &n);
    *length = line && n > 0 ? (size_t)n : 0;
    if (*length > 1) history(past, &event, H_ENTER, line);
    return line;
}

void keel_line_close(void) {
    if (past) history_end(past);
    if (editor) el_end(editor);
    past = NULL;
    editor = NULL;
}
#else
void keel_line_close(void) {}
#endif

/* Without its end, checked, in the arena. */
static keel_status take(const char *line, size_t n, keel_arena *arena, const char **out, keel_err *err) {
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
    if (memchr(line, 0, n) || keel_utf8_valid_prefix(line, n) != n)
        return keel_fail(err, KEEL_E_PARSE, "standard input", "a line is not UTF-8 text");
    char *copy = keel_arena_calloc(arena, n + 1, 1);
    if (!copy) return keel_nomem(err, "standard input");
    memcpy(copy, line, n);
    *out = copy;
    return KEEL_OK;
}

static keel_status stopped(keel_err *err) {
    return keel_fail(err, KEEL_E_INTERRUPTED, "chat", "stopped between two lines");
}

/* Until a line comes, or the program is asked to stop: false. Nothing is read ahead, so that it is seen. */
static bool wait_for_input(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    setvbuf(stdin, NULL, _IONBF, 0);
    while (!keel_interrupted())
        if (poll(&input, 1, 200) > 0) return true;
    return false;
}

static keel_status plain(const char *prompt, keel_arena *arena, const char **out, keel_err *err) {
    char *line = NULL;
    size_t room = 0;
    if (isatty(STDIN_FILENO)) {
        fputs(prompt, stdout);
        fflush(stdout);
    }
    if (!wait_for_input()) return stopped(err);
    const ssize_t n = getline(&line, &room, stdin);
    keel_status status = n < 0 ? KEEL_OK : take(line, (size_t)n, arena, out, err);
    free(line);
    return status;
}

keel_status keel_line_read(const char *prompt, keel_arena *arena, const char **out, keel_err *err) {
    *out = NULL;
    if (keel_interrupted()) return stopped(err);
#if KEEL_HAVE_LIBEDIT
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && open_editor()) {
        size_t n;
        const char *line = edited(prompt, &n);
        return n > 0 ? take(line, n, arena, out, err) : KEEL_OK;
    }
#endif
    return plain(prompt, arena, out, err);
}
