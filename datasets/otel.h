/* What is said in OTLP as JSON: attributes, and the messages of a call of a model in all versions of the
 * conventions for generative AI. All is made in the arena of the sessions. Not for other folders. */
#ifndef KEEL_DATASETS_OTEL_H
#define KEEL_DATASETS_OTEL_H

#include "datasets/session.h"

/* A value of OTLP, {"stringValue": ...}, of that name in a list of {"key", "value"}; NULL: there is none. */
const cJSON *keel__otel_attribute(const cJSON *attributes, const char *name);
/* The same of a text. */
const char *keel__otel_text(const cJSON *attributes, const char *name);

/* Makes call->history and call->answers, empty or not, of the attributes of a span, or of an event in it. */
keel_status keel__otel_read(keel__sessions *sessions, const cJSON *attributes, keel__call *call,
                            keel_err *err);

/* What the event, or the log record, is called; NULL: nothing. */
const char *keel__otel_event_name(const cJSON *event);
/* Whether it is a message of a call. *answers: that of the model. */
bool keel__otel_is_message(const cJSON *event, bool *answers);
/* Adds that message, or its list of them, to the history or to the answers. One without content is none. */
keel_status keel__otel_add_event(keel__sessions *sessions, keel__call *call, const cJSON *event,
                                 keel_err *err);

#endif
