/* Interrupts: long loops ask keel_interrupted; when it says so they save a state to go on from and return
 * KEEL_E_INTERRUPTED. */
#ifndef KEEL_CORE_INTERRUPT_H
#define KEEL_CORE_INTERRUPT_H

#include <stdbool.h>

/* What `interrupted` of the context says. */
bool keel_interrupted(void);

#endif
