/* Made by make_ordinary.py: do not edit. */
/* clang-format off */
static const double golden_taken[] = {0.4, -0.2};
static const double golden_other[] = {0.1, 0.9, -0.5, 0.3, -0.4, 0.2};
static const double golden_v[] = {0.5, 0.1};
static const double golden_m = 6;
static const double golden_negatives[] = {1.88588991, 2.18813376};
static const double golden_calibrated[] = {2.16540433, 2.3006642};
static const double golden_slope_other[] = {0, 0.189114178, 0, 0.165189133, 0, 0.149469308};
static const double golden_slope_taken[] = {-0.442648227, -0.449903863};
static const double golden_cost_taken[] = {0.1, 0.3};
static const double golden_cost_other[] = {0, 0.8, 1.7, 0.5};
static const double golden_cost_m = 2;
static const double golden_cost[] = {0.956186687, 0.839546204};
static const double golden_cost_slope_other[] = {-0.212389406, -0.0954327118, 0, -0.176807557};
static const double golden_cost_slope_taken[] = {0.307822118, 0.284046762};
static const double golden_dual_harm[] = {0.01, 0.25, 0.1, 0.4, 0, 0.02, 0, 0.7};
static const double golden_dual_rate = 0.5, golden_dual_bound = 0.02, golden_dual_limit = 0.3;
static const double golden_dual[] = {0, 0.115, 0.155, 0.3, 0.29, 0.29, 0.28, 0.3};
static const double golden_p[] = {0.000309335866, 0.00283452661, 0.0131156603, 0.0409516551, 0.188465617, 0.71788817};
static const size_t golden_harms[] = {0, 1, 2, 3, 5, 9};
