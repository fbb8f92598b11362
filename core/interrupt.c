#include "core/interrupt.h"

#include "core/context.h"

bool keel_interrupted(void) {
    const keel_context *context = keel_context_current();
    return context->interrupted && context->interrupted(context->user);
}
