/* What a program of verbs does besides finding the verb: runs it, prints its result or its error, and says
 * with what to exit. Nothing else prints. */
#ifndef KEEL_EXPERIMENTS_PROGRAM_H
#define KEEL_EXPERIMENTS_PROGRAM_H

#include "core/context.h"
#include "experiments/cli.h"

/* A program that is started with a standard stream closed would open a file under its number, and write
 * results or the log into an artefact. /dev/null takes their place; on stdout read-only, so that a result
 * that goes nowhere is an error. false: that failed too. */
bool keel_program_hold_streams(void);
/* argv: what follows the verb. Returns the exit status; ends the process by the signal that interrupted it.
 */
int keel_program_run(const keel_verb *verb, keel_context *context, size_t argc, const char *const *argv);
/* Prints an error of the verb, or of the program (NULL), and returns the exit status. */
int keel_program_fail(const keel_verb *verb, const keel_err *err);
/* A full disk or a closed pipe is an error like any other. */
keel_status keel_program_flush(keel_err *err);

#endif
