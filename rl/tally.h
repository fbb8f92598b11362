/* The sums behind one actor's metrics: policy, base, logged behaviour or a source model. Counts add over
 * items, so cross-validated policies pool before rates and intervals are taken. */
#ifndef KEEL_RL_TALLY_H
#define KEEL_RL_TALLY_H

#include "rl/answer.h"
#include "rl/evaluate.h"

enum {
    KEEL_TALLY_MEANS = 4,  /* composite, accuracy, speed, safety */
    KEEL_TALLY_PLACES = 3, /* an answer alone in its conversation, one before the last, the last */
    KEEL_TALLY_ROW = 2 * KEEL_TALLY_MEANS * KEEL_TALLY_PLACES
};

typedef struct keel_tally {
    double sum[KEEL_N_METRICS], count[KEEL_N_METRICS];
    double completion_squares; /* of the conversations' weights */
    bool judged,
        declined; /* of the conversation at hand, if benign: some answer's outcome is known; was a refusal */
    double answers, known, component[KEEL_N_REWARDS];
    double kl, kl_count;
    size_t n_rows, capacity;        /* conversations, at most KEEL_BOOTSTRAP_ROWS */
    double (*rows)[KEEL_TALLY_ROW]; /* by conversation: of each mean, at each place, sum and count */
} keel_tally;

/* One answer at a decision of conversation number `number` (the unit of the bootstrap). silent: bit i is set
 * where the log tells of mean i elsewhere in the conversation and nothing here, so that this decision adds
 * nothing to its total. */
keel_status keel_tally_answer(keel_tally *tally, const double weight[KEEL_N_REWARDS],
                              const keel_reward_view *log, size_t decision, size_t number,
                              const keel_answer *answer, unsigned silent, keel_err *err);
/* Bit i is set where a reward tells of mean i. */
unsigned keel_tally_told(const keel_reward *reward, const double weight[KEEL_N_REWARDS]);
/* Ends a conversation of `answered` decisions. One whose completion is known weighs as much as the actor
 * agreed with what was answered in it. borderline: it is marked so. */
void keel_tally_conversation(keel_tally *tally, const keel_conversation *conversation, bool borderline,
                             size_t agreed, size_t answered);
void keel_tally_agreement(keel_tally *tally, bool agrees);
/* How candidates of one decision with known composite [n] are ranked by score [n]; equal scores count half.
 */
void keel_tally_preferences(keel_tally *tally, const double *composite, const double *score, size_t n);
/* Rates with Wilson intervals, means with bootstrap intervals, name cut to fit. pool may be NULL. */
keel_status keel_tally_close(const keel_tally *tally, const char *name, const keel_evaluate_config *config,
                             keel_pool *pool, keel_evaluation *out, keel_err *err);
void keel_tally_free(keel_tally *tally);

#endif
