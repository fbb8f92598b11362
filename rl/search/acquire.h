/* What a next evaluation is worth, of a quantity that is to be as large as possible and is believed to be
 * normal. */
#ifndef KEEL_RL_SEARCH_ACQUIRE_H
#define KEEL_RL_SEARCH_ACQUIRE_H

/* log E max(f - best, 0) for f ~ N(mean, sd^2): the logarithm of the expected improvement (Mockus 1975; Jones
 * et al. 1998), which stays finite where the improvement itself is 0 in double precision (Ament et al.
 * 2023). -INFINITY where sd is 0 and mean not above best. */
double keel_log_improvement(double mean, double sd, double best);

/* log P(f >= least) (Gardner et al. 2014: the improvement counts as often as its constraints hold). */
double keel_log_feasible(double mean, double sd, double least);

#endif
