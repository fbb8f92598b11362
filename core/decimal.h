/* Numbers as text, with a decimal point: a host program may have set a locale that writes a comma. */
#ifndef KEEL_CORE_DECIMAL_H
#define KEEL_CORE_DECIMAL_H

#include <stdbool.h>

enum { KEEL_DECIMAL_SIZE = 40 };

/* strtod of the C locale. end may be NULL. */
double keel_decimal_read(const char *text, char **end);
/* The shortest text that reads back to the same value; whole numbers below 1e15 without an exponent. The
 * value is finite. */
void keel_decimal_print(char out[KEEL_DECIMAL_SIZE], double value);
/* "90s", "0.5s", "10m" or "2h": seconds; a number above 0 and below 1e7. False, and nothing set: it is no
 * such text.
 */
bool keel_decimal_duration(const char *text, double *seconds);

#endif
