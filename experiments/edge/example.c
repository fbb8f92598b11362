/* An assistant that asks a policy what to answer: example POLICY < conversation.json */
#include <keel_decide.h>
#include <stdio.h>

int main(int argc, char **argv) {
    static char text[1 << 20];
    const size_t length = fread(text, 1, sizeof text, stdin);
    const char *decision = NULL;
    keel_decider *decider = NULL;
    if (argc != 2) return 2;
    int code = keel_decide_open(argv[1], NULL, &decider);
    if (!code) code = keel_decide(decider, text, length, &decision);
    if (code) fprintf(stderr, "example: %s\n", keel_decide_error(decider));
    if (decision) puts(decision);
    keel_decide_close(decider);
    return code;
}
