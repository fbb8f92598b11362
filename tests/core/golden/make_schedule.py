"""Golden factors of the learning rate: those of transformers, 7 steps of warm-up out of 40.

    pip install torch transformers && python make_schedule.py      (made with 2.15 and 5.24)
"""
import os

import torch
import transformers

WARM_UP, STEPS = 7, 40
rows = []
for name in ("constant", "linear", "cosine"):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    make = getattr(transformers, f"get_{name}_schedule_with_warmup")
    schedule = make(optimizer, WARM_UP) if name == "constant" else make(optimizer, WARM_UP, STEPS)
    factors = []
    for _ in range(STEPS + 1):
        factors.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    rows.append("    {" + ", ".join(f"{x:.15g}" for x in factors) + "},")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "schedule.h"), "w") as out:
    out.write(f"""/* Made by make_schedule.py: constant, linear, cosine. */
/* clang-format off */
enum {{ GOLDEN_WARM_UP = {WARM_UP}, GOLDEN_STEPS = {STEPS} }};
static const double golden_factors[3][GOLDEN_STEPS + 1] = {{
""" + "\n".join(rows) + "\n};\n")
