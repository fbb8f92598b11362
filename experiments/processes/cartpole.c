#include "experiments/processes/cartpole.h"

#include <math.h>

static const double GRAVITY = 9.8, CART = 1.0, POLE = 0.1, HALF_LENGTH = 0.5, FORCE = 10, TICK = 0.02;
static const double FARTHEST = 2.4, STEEPEST = 12 * 2 * 3.14159265358979323846 / 360;

enum { X, SPEED, ANGLE, TURN };

void keel_cartpole_reset(keel_cartpole *pole, keel_rng *rng) {
    *pole = (keel_cartpole){0};
    for (int i = 0; i < KEEL_CARTPOLE_STATE; ++i) pole->state[i] = -0.05 + 0.1 * keel_rng_uniform(rng);
}

/* Equations of motion without friction (Florian 2007), Euler's method. */
void keel_cartpole_step(keel_cartpole *pole, int action) {
    double *s = pole->state, total = CART + POLE, moment = POLE * HALF_LENGTH;
    double cosine = cos(s[ANGLE]), sine = sin(s[ANGLE]), force = action ? FORCE : -FORCE;
    double push = (force + moment * s[TURN] * s[TURN] * sine) / total;
    double turning =
        (GRAVITY * sine - cosine * push) / (HALF_LENGTH * (4.0 / 3 - POLE * cosine * cosine / total));
    double speeding = push - moment * turning * cosine / total;
    s[X] += TICK * s[SPEED];
    s[SPEED] += TICK * speeding;
    s[ANGLE] += TICK * s[TURN];
    s[TURN] += TICK * turning;
    pole->steps++;
    pole->fell = fabs(s[X]) > FARTHEST || fabs(s[ANGLE]) > STEEPEST;
    pole->cut_off = !pole->fell && pole->steps >= KEEL_CARTPOLE_LIMIT;
}

int keel_cartpole_balance(const keel_cartpole *pole) {
    const double *s = pole->state;
    return 0.1 * s[X] + 0.3 * s[SPEED] + 3 * s[ANGLE] + s[TURN] > 0;
}
