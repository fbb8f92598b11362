#include "core/decimal.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char text[KEEL_DECIMAL_SIZE];
    if (value == floor(value) && fabs(value) < 1e15) {
        snprintf(text, sizeof text, "%.0f", value);
    } else {
        locale_t c, before = enter(&c);
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value) break;
        }
        leave(before, c);
    }
    memcpy(out, text, strlen(text) + 1);
}

bool keel_decimal_duration(const char *text, double *seconds) {
    static const char units[] = "smh";
    static const double each[] = {1, 60, 3600};
    char *end;
    const double value = keel_decimal_read(text, &end);
    const char *unit = *end && !end[1] ? strchr(units, *end) : NULL;
    if (end == text || !unit || !(value > 0) || !(value < 1e7)) return false;
    *seconds = value * each[unit - units];
    return true;
}
