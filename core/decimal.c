#include "core/decimal.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The C locale for this thread until `leave`. Without memory for it the host's stays. */
static locale_t enter(locale_t *c) {
    *c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return *c ? uselocale(*c) : (locale_t)0;
}

static void leave(locale_t before, locale_t c) {
    if (!c) return;
    uselocale(before);
    freelocale(c);
}

double keel_decimal_read(const char *text, char **end) {
    locale_t c, before = enter(&c);
    double value = strtod(text, end);
    leave(before, c);
    return value;
}

void keel_decimal_print(char out[KEEL_DECIMAL_SIZE], double value) {
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(out, KEEL_DECIMAL_SIZE, "%.0f", value);
        return;
    }
    locale_t c, before = enter(&c);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, KEEL_DECIMAL_SIZE, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    leave(before, c);
}
