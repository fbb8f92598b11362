#include "experiments/explain.h"

#include <string.h>

#include "experiments/verbs.h"

/* The columns of `eval`, which `stats`, `simulate` and `run` print too. */
const keel_explained keel_explanations[] = {
    {"import", "conversations", 0,
     "conversations of the files that are now in the store; those that were there before are not counted again",
     "what you know to be in your logs"},
    {"import", "left out", -1, "what the reader left out, by reason and number",
     "nothing, or only what you meant to leave out"},

    {"consume", "messages, batches", 0,
     "messages read now, and the transactions that took them; `offsets` says what comes next in each partition",
     "as many messages as the topic got since the last time"},
    {"consume", "conversations, unchanged, extended", 0,
     "of the messages: new in the store, already there, and there but completed now",
     "unchanged near 0: else a producer repeats itself"},
    {"consume", "empty, bad, gone", -1,
     "messages without a value, unusable ones, and those that the brokers deleted before they were read",
     "0"},

    {"stats", "conversations, turns, decisions", 0,
     "size of each split; a decision is a point where the assistant answered",
     "hundreds of conversations in test: 100 of 100 refusals show a rate of .963 at least, no more"},
    {"stats", "candidates, taken", 0, "possible answers at the decisions, and those that were given",
     "more candidates than taken ones show what else could have been said"},
    {"stats", "benign, dangerous, risk_unknown", 0, "conversations by the risk of what is asked",
     "both kinds present; risk_unknown near 0, for rates count only what has a risk"},
    {"stats", "completed, completion_known", 0,
     "conversations that ended with the task done, and those where the log says whether",
     "known of most benign conversations"},
    {"stats", "outcome: ...", 0, "answers by what they are judged to be",
     "unjudged near 0 where the risk is known; `keel label` judges"},
    {"stats", "judged_by: ...", 0, "answers by who judged them; people outrank rules, rules a model",
     "a hundred or more by people, drawn at random, so that the judge's error is known"},
    {"stats", "reward_present: ...", 1, "answers whose reward has the component",
     "near the number of answers taken"},
    {"stats", "duplicates", -1,
     "conversations with the same or nearly the same prompt as an earlier one, and those in another split",
     "none in another split: they would flatter"},

    {"label", "coverage", 1, "share of the candidates with text that have an outcome now",
     "1, or the share the judge is sure of"},
    {"label", "unjudged", -1, "candidates that the judge left without an outcome",
     "few, and not all of one kind"},
    {"label", "without_text", -1, "candidates that have no text to judge", "0"},
    {"label", "judged_before, filled, judged_anew", 0,
     "outcomes that were there, were added, and were replaced by a newer judge's",
     "filled is what you expected to be open"},
    {"label", "any_refusal_accuracy", 1,
     "share of the answers labelled by people where the judge agrees whether it is a refusal, in full or in part",
     "lower end above 0.9"},

    {"judge", "n", 0, "answers that people labelled, with which the judge is compared", "100 or more"},
    {"judge", "any_refusal_accuracy, accuracy", 1,
     "share where the judge agrees: whether it refuses at all; which of the three classes",
     "lower ends above 0.9 and 0.85"},
    {"judge", "any_refusal_kappa, kappa", 1, "agreement beyond chance (Cohen)",
     "above 0.8; below 0.6 the judge guesses too often"},
    {"judge", "any_refusal_rate_bias", 0, "judge's rate of refusals less that of people", "interval holds 0"},
    {"judge", "ece", -1, "expected calibration error: how far probabilities are from shares", "below 0.05"},
    {"judge", "source ... bias", 0, "the same bias for each model that wrote answers",
     "intervals hold 0: else the judge favours a model"},

    {"sft", "losses: ...", -1,
     "loss of each part of the base on the last batches; 0 is a part without labels", "falling, then flat"},
    {"sft", "losses: token, dpo, kto", -1,
     "of a decoder: the mean surprise at a token of a response (e to it is the perplexity), or what preferences cost",
     "falling; dpo begins at 0.69, kto at 0.5"},
    {"sft", "losses: taught", -1,
     "of a decoder with --teacher-base: (1 - distil) times the mean surprise + distil times how far it is from the "
     "teacher",
     "falling; not the logarithm of a perplexity"},
    {"sft", "responses_learned_from, texts", 0,
     "of a decoder: responses that taught, and the texts that they were read in, a conversation's in one",
     "most responses of the split; fewer texts than responses"},
    {"sft", "taught_by_name, taught_nothing", 0,
     "with --teacher: decisions whose chosen act or outcome no candidate has, learned by its name; and those that taught "
     "nothing",
     "few that taught nothing: else the teacher knows other acts, or the base is over another action space"},
    {"sft", "responses_undeserving, responses_too_long, responses_cut, dialogues_cut", -1,
     "of a decoder: what imitate and candidate_tokens left out, what was cut, and conversations that do not fit into state_tokens",
     "only what you meant to leave out"},
    {"sft", "hash", 0, "names the base: what was tuned on it asks for this one",
     "the same for the same data, settings and build"},

    {"train", "loss", -1, "what the optimizer lowers: td + alpha conservative + rules",
     "falling, then flat; a rise says that it diverges"},
    {"train", "td", -1, "temporal-difference error (Huber) of the values",
     "falling, then flat and small beside the reward's range"},
    {"train", "conservative", 0, "logsumexp of Q over the actions less Q of what was taken",
     "falls towards the logarithm of the number of actions or below"},
    {"train", "td_cost, conservative_cost", -1, "the same two of the cost of harm",
     "falling, then flat; absent where the log knows no harm"},
    {"train", "held_out_harm, multiplier", -1,
     "cql-constrained: share of dangerous conversations of the fold answered harmfully, and what it made of lambda",
     "the harm at harm_limit or below; a multiplier at its limit does not meet it"},
    {"train", "constraint: threshold", 0,
     "with --max-harm: the cost of harm above which answers are masked; - for none needed",
     "0.1 or more; near 0 nearly all is masked"},
    {"train", "constraint: fallback_share", -1, "decisions where only refusing or handing over was left",
     "about the share of dangerous decisions, or below"},
    {"train", "q_taken, q_others", 0, "mean Q of the actions taken in the log, and of others",
     "within what rewards allow; taken above others"},
    {"train", "q_low, q_high", 0, "least and largest Q of a batch",
     "within the bounds of returns: [-1, 1] for one decision"},
    {"train", "gradient_norm", 0, "length of the gradient before clipping", "without spikes"},
    {"train", "reward_coverage: ...", 1, "share of the answers whose reward has the component",
     "1; a component that is not covered is not learned"},
    {"train", "value (WDR), at least", 1,
     "with validation: a checkpoint's value on held-out conversations, and its lower bound",
     "the bound above what the log returned"},
    {"train", "ESS", 1, "with validation: effective sample size of that estimate", "30 or more"},
    {"train", "beta", 0, "how far the policy may leave its base, solved for the KL budget",
     "finite; 0 is the base itself"},
    {"train", "beta_at_limit", 0, "the search for beta stopped at its limit",
     "no; yes says that Q hardly tells the actions apart"},
    {"train", "differing: ...", 0,
     "at about 1,024 decisions that it learned from: where it chooses otherwise than base and log",
     "some from both: none from the base says that nothing was learned"},
    {"train", "q_outside: ...", -1,
     "logged actions whose Q lies outside what rewards allow, and how far the furthest goes",
     "outside near 0: else Q is no value to compare with thresholds"},
    {"train", "minus the log's, at least", 1,
     "what each policy of the comparison earns more than the log on held-out conversations, and the lower bound, corrected for the number compared",
     "the bound above 0 for the one kept: else no improvement is shown"},

    {"eval", "refusal_rate", 1,
     "of judged decisions in dangerous conversations, the share answered by a full refusal",
     "lower end at or above your bound, for example 0.95"},
    {"eval", "harmful_compliance_rate", -1, "of the same decisions, the share answered by full compliance",
     "upper end at or below your bound, for example 0.02"},
    {"eval", "over_refusal_rate", -1,
     "of judged decisions in benign conversations, the share refused in full or in part",
     "not above the log's"},
    {"eval", "borderline_refusal_rate", -1,
     "of benign conversations that the log marks as borderline, the share in which some request was refused, in full or in part",
     "not above the log's"},
    {"eval", "completion_rate", 1,
     "of benign conversations, the share completed; for logs of one decision, full compliance",
     "lower end not below the log's"},
    {"eval", "composite_reward", 1,
     "what a conversation earns in all: the weighted sum of accuracy, speed and safety",
     "lower end above the log's value"},
    {"eval", "accuracy", 1,
     "what conversations earn for doing what was called for: benign done, dangerous refused",
     "above the log's"},
    {"eval", "speed", 1, "what conversations earn for quick answers and few turns", "not below the log's"},
    {"eval", "safety", 1, "what conversations lose by harm; 0 is no harm", "near 0"},
    {"eval", "agreement_rate", 0, "share of decisions where the choice is one of those the log took",
     "near 1 for cloning; says nothing about quality"},
    {"eval", "preference_accuracy", 1,
     "of pairs of answers to one request that the log ranks, the share ranked alike", "above 0.5"},
    {"eval", "latency_s", -1, "seconds that the given answers took, where the log has them",
     "below your limit"},
    {"eval", "n", 0, "how many independent answers or conversations the figure rests on",
     "30 or more; with 100 the interval of a rate is about 0.1 to each side"},
    {"eval", "decisions judged", 1, "share of the answers whose outcome or accuracy is known", "near 100 %"},
    {"eval", "known / estimated / unknown", 0,
     "where the figure comes from: the log or a rule says it; it is estimated (doubly robust); only bounds are known",
     "most known; unknown near 0"},
    {"eval", "at the log's decisions", 0,
     "rates at the decisions that the log met; above them the rates as the policy would be played on",
     "both; a wide gap says that the policy leads conversations elsewhere"},
    {"eval", "rogan_gladen, ppi", 0, "rates corrected for the judge's error, in two ways",
     "close to each other; far from the raw rate: believe these"},
    {"eval", "always-refuse, never-refuse", 0,
     "baselines: refuses at every decision, complies at every decision",
     "the policy above both in composite_reward"},
    {"eval", "unlike any that it learned from", -1,
     "decisions whose request is further from those of training than 99 % of held-out ones are",
     "about 1 %; more says that the log is of another kind"},
    {"eval", "policy - logged, policy - base", 0, "differences at the same conversations",
     "the interval excludes 0 on the side you want"},
    {"eval", "wdr, dr, magic, ...", 1, "off-policy estimates of the return",
     "alike, and above logged_return"},
    {"eval", "ess", 1, "effective sample size of the off-policy estimates",
     "30 or more; below, none is to be relied on"},
    {"eval", "mean_weight", 0, "mean of the weights of the off-policy estimates",
     "near 1; far above, the log's propensities are not of the choice among its candidates"},
    {"eval", "support", 1, "mean probability that the policy gives to what the log did", "well above 0"},
    {"eval", "self_prediction", 0, "what the policy's own critic promises",
     "near the estimates; it is no evidence"},
    {"eval", "gate", 0, "a condition on a figure, with its interval",
     "met, with an interval of the confidence that its tries ask for"},

    {"publish", "gate", 0, "a condition on what `keel eval` measures, with its interval", "met"},
    {"publish", "published", 0, "whether the arm is to serve the policy", "yes, where all gates are met"},

    {"ab", "sample ratio p", 0,
     "chance that units are shared among the arms as they are, if they were assigned as said",
     "above 0.001: below it the cell is void, find out why"},
    {"ab", "units", 0, "users or conversations with a known value, each counted once",
     "30 or more on each side"},
    {"ab", "mean", 0, "of an arm's units, with an interval that holds at all times together", "as in eval"},
    {"ab", "unjudged", -1, "share of the requests asked for that nobody judged: no mean counts them",
     "low, and alike in all arms"},
    {"ab", "difference", 0, "of the arm's mean from the control's, with such an interval",
     "the interval excludes 0 on the side you want"},
    {"ab", "p", -1,
     "always-valid: at no time below alpha, with probability 1 - alpha, where there is no difference",
     "below alpha where there is one"},
    {"ab", "verdict", 0, "over all comparisons of the table at a false discovery rate of alpha; open: wait",
     "none is worse; none is void"},
    {"ab", "post-stratified difference, Mantel-Haenszel", 0,
     "over all cells, each compared with itself: over those with enough units, and over sparse ones too",
     "alike"},

    {"replay", "Q ...", 0, "what the critic expects of each answer, by component",
     "within the range of rewards"},
    {"replay", "cost of harm", -1,
     "harm that the critic expects of each answer and what follows it, pessimistic upward",
     "near 0 for refusals and harmless answers, near 1 for compliance with danger"},
    {"replay", "advantage", 0, "Q less what the base would get", "positive for the choice"},
    {"replay", "log_prior, log_pi", 0, "log-probability under the base, and under the policy",
     "the choice is not far below others in the prior"},
    {"replay", "masked", 0, "the cost of harm of the answer is above the threshold",
     "dangerous answers only"},
    {"replay", "differ from the log", 0, "decisions in which the policy answers otherwise",
     "some: none is cloning, most is a leap"},

    {"decide", "fallback", -1, "answers given because none was safe enough", "rare"},
    {"decide", "unfamiliar, distance", -1,
     "the request is unlike any that the policy learned from; 1 less the cosine to the nearest",
     "rare; where it is common, --unfamiliar fallback"},
    {"decide", "probability", 0, "what the policy gives to each answer", "one answer stands out"},

    {"review", "labels given, responses skipped, taken back", 0,
     "labels that people gave, responses that they chose not to label, labels that they took back",
     "few skipped and few taken back"},
    {"review", "estimate", 0,
     "on the page: a rate of the log, corrected by the labels so far, with its interval",
     "the interval holds what the judge says, or the judge is wrong there"},
    {"review", "still needed", -1, "on the page: how many labels more make the interval as narrow as wished",
     "0, before a decision is made"},
    {"review", "kappa", 1,
     "on the page: how two people who saw the same response agree, beyond chance (Cohen)",
     "above 0.6; below it the question is not clear to them"},

    {"propose", "candidates, decisions", 0, "texts that were written into the store, and where",
     "as many texts a decision as were asked for, less the repeated ones"},
    {"propose", "repeated, empty", -1,
     "texts that a candidate had already, and texts without a word: left out",
     "few: at temperature 0 all texts of a decision are one"},
    {"propose", "cut", -1, "texts that end at --max-tokens",
     "few: what is cut off is no whole answer; a larger --max-tokens"},
    {"propose", "decisions_done_before", 0, "decisions that had texts under this name",
     "0, or those of an interrupted run"},
    {"propose", "said", 0, "with --say: decisions whose first text counts as said, and so is a transition",
     "those that nobody answered"},

    {"chat", "q, cost, prior, pi", 0,
     "of each candidate: Q of each component, cost of harm, and its probability before and after the policy",
     "the answer has the highest probability of those that are not masked"},

    {"verify", "log: perplexity", -1,
     "how many tokens the decoder wavers between, on average, before each one of the responses in --store",
     "lower than that of the model as it came, on conversations that it was not tuned on"},
    {"verify", "perplexity", -1,
     "of a decoder: e to the mean surprise at a token, given those before it; of a standard text, and of --lines",
     "the library's to four digits in f32; q8_0 within a percent of it"},
    {"verify", "next, logit, probability", 0,
     "of a decoder: the tokens that most probably come after the prompt",
     "the library's logits to three digits after the point in f32"},
    {"verify", "chat_template", 0,
     "of a decoder: whether its template takes a user's question (user), one behind a system's words (system; --told needs "
     "it), an answer of which it is plain what the assistant says (answer; sft reads it), functions and calls (tools)",
     "taken; what is refused, in the template's own words, fails in sft and propose too; without: the model never sees that part"},
    {"verify", "bytes_per_token", -1,
     "of a decoder: memory that keys and values of each token of a text take",
     "times the tokens of a conversation, far below --memory"},

    {"compress", "parameters_before, parameters", 0, "weights before and after",
     "alike where nothing was pruned"},
    {"compress", "bytes_before, bytes, smaller", 0,
     "bytes of the weights before and after, and how many times smaller they are",
     "int8: near 4 of float32; 4 bits: near 6, as embeddings keep 8 bits"},
    {"compress", "pruned", 0, "share of the weights, but for embeddings and heads, that was pruned",
     "near --ratio: channels go 32 at a time, heads and layers whole"},
    {"compress", "channels, heads, kept", 0,
     "of each layer: channels of its feed-forward layer and heads (of keys and values), before and after",
     "fewer where the model cares least"},
    {"compress", "changed", -1, "share of decisions at which the answer is another one than before",
     "near 0"},
    {"compress", "loss", -1,
     "what refusal and completion fall by on average; without a policy, what is changed",
     "near 0, with an interval that is not wide"},
    {"compress", "off without, its channels, its heads", -1,
     "how far off the model is, on logged text, without the layer, or with its channels or heads alone pruned: of a decoder "
     "the divergence of what it says (half the mean square of what log-probabilities of tokens differ by), of an encoder "
     "the squared distance of vectors",
     "small where much was pruned; - where it was not measured"},

    {"serve", "answered", 0, "requests that got an answer", "all that came"},
    {"serve", "by fallback", -1,
     "of them, those for which nothing was written in time, or nothing was safe enough",
     "rare: look at keel:fallback_reasons_total"},
    {"serve", "hung up", -1, "requests whose client did not wait for the answer", "rare"},
    {"serve", "logged, lost", -1,
     "entries (requests and feedback) that are in the store, and those that could not be kept",
     "none lost: else the disk or the queue of the log was full"},
    {"serve", "propensity", 0,
     "in a response and the store: how likely this answer was, among the same candidates",
     "1 without --explore; with it, what keel eval weighs answers by"},

    {"simulate", "refusal_rate, completion_rate, ...", 0,
     "as in eval, counted in played conversations: the simulator knows the truth",
     "near what eval estimates"},

    {"run", "answers", 0,
     "who answered, a row each: the log, its models, the base, policies; columns as in eval", "as in eval"},

    {"search", "value of a trial", 0,
     "what it shows of the metric, with its interval over the conversations that judged it",
     "intervals of the first and the next do not overlap: else the order says little"},
    {"search", "kept", 0,
     "the trial of the highest value that meets what is required; with bayes, of which most is expected",
     "near other good trials, and not at the end of a range: else widen it"},
    {"search", "such settings give", 0,
     "what a Gaussian process over all trials believes of the kept one, without noise between trials; with 95 %",
     "near the value: else that is luck"},
    {"search", "held out", 1, "what the kept trial shows on what nothing was chosen by",
     "near the value that it was chosen by; this is the number to believe"},

    {"learn", "conversations, new, features kept", 0,
     "conversations that the round learned from; of those, since the round before; decisions that were not encoded anew",
     "new as many as were logged; features kept near what the round before had"},
    {"learn", "better by at least", 1,
     "lower bound of what the policy earns a conversation above the published one, on conversations held out",
     "above 0: it is published"},
    {"auto", "compared.composite_reward.low", 1,
     "the least that a trial earns above the defaults in a conversation, both asked the same ones, which neither learned from; holds for "
     "all trials at once (95 %)",
     "above 0 for the trial that is kept; below, the defaults are kept"},
    {"auto", "kept", 0,
     "the defaults, or the trial that earns more beyond doubt, made anew on the whole split",
     "on small logs the defaults: more logs, or a larger budget, may show a difference"},
    {NULL, NULL, 0, NULL, NULL}};

const keel_explained *keel_explain_find(const char *verb, const char *name) {
    for (const keel_explained *row = keel_explanations; row->verb; row++)
        if (strcmp(row->verb, verb) == 0 && strcmp(row->name, name) == 0) return row;
    return NULL;
}

/* Words wrapped at 110 columns, all lines after `indent` blanks. */
static void put_wrapped(const char *text, int indent, FILE *out) {
    enum { WIDTH = 110 };
    int at = indent;
    fprintf(out, "%*s", indent, "");
    while (*text) {
        const int length = (int)strcspn(text, " ");
        if (at > indent && at + 1 + length > WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
        }
        at += fprintf(out, "%s%.*s", at > indent ? " " : "", length, text);
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static const char *way_of(const keel_explained *row) {
    return row->better > 0 ? " (more is better)" : row->better < 0 ? " (less is better)" : "";
}

void keel_explain_print(const char *verb, FILE *out) {
    bool any = false;
    for (const keel_explained *row = keel_explanations; row->verb; row++) {
        if (strcmp(row->verb, verb) != 0) continue;
        fprintf(out, "%s%s%s\n", any ? "\n" : "", row->name, way_of(row));
        put_wrapped(row->means, 4, out);
        fputs("    healthy: ", out);
        put_wrapped(row->healthy, 0, out);
        any = true;
    }
    if (!any) fprintf(out, "The output of `keel %s` has no columns that need a word.\n", verb);
}

void keel_explain_document(FILE *out) {
    const char *verb = "";
    fputs(
        "# Outputs\n\n"
        "What the rows and columns of each verb's output mean, and what is healthy. `keel VERB --explain` prints the same; this\n"
        "page is made from the table in `experiments/explain.c` by `keel help --outputs`. [metrics.md](metrics.md) has the formulas.\n",
        out);
    for (const keel_explained *row = keel_explanations; row->verb; row++) {
        const keel_verb *found = NULL;
        if (strcmp(row->verb, verb) != 0) {
            verb = row->verb;
            keel_verb_find(verb, &found, NULL);
            fprintf(out, "\n## %s\n%s\n\n| name | means | healthy |\n|---|---|---|\n", verb,
                    found ? found->brief : "");
        }
        fprintf(out, "| `%s`%s | %s | %s |\n", row->name, way_of(row), row->means, row->healthy);
    }
}
