/* Rows of an option table whose keys are the names of a struct's members, for the file that holds the table:
 * define KEEL_ROWS_OF as the struct's type and include this last. */
#ifndef KEEL_CORE_OPTION_ROWS_H
#define KEEL_CORE_OPTION_ROWS_H

#include "core/options.h"

#define CHOICE(field, standard, names, help)                                                                 \
    { #field, KEEL_OPT_CHOICE, offsetof(KEEL_ROWS_OF, field), standard, 0, 0, names, help }
#define INT(field, standard, low, high, help)                                                                \
    { #field, KEEL_OPT_INT, offsetof(KEEL_ROWS_OF, field), standard, low, high, NULL, help }
#define BOOL(field, standard, help)                                                                          \
    { #field, KEEL_OPT_BOOL, offsetof(KEEL_ROWS_OF, field), standard, 0, 0, NULL, help }
#define REAL(field, standard, low, high, help)                                                               \
    { #field, KEEL_OPT_REAL, offsetof(KEEL_ROWS_OF, field), standard, low, high, NULL, help }

#endif
