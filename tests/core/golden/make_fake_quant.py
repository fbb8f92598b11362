"""Golden values and gradients of fake quantisation with learned factors: those of torch's automatic differentiation in float64, of
weights limited to factor times the largest of what shares a scale, divided by the scale, rounded (as if not) and multiplied by it.

    pip install torch && python make_fake_quant.py      (made with 2.15)
"""
import os

import torch

torch.set_default_dtype(torch.float64)
ROWS, COLS = 3, 64
FACTOR = [1.0, 0.7, 0.4]


def numbers(step):
    return torch.sin(torch.arange(ROWS * COLS) * step + 1).pow(3).float().double().reshape(ROWS, COLS)


def straight(x, rounded):
    return x + (rounded - x).detach()


def held(w, factor, group, half):
    parts = w.reshape(ROWS, -1, group)
    most = parts.abs().amax(-1, keepdim=True).detach()
    end = factor[:, None, None] * most
    scale = end / 127
    code = torch.round(parts / scale)
    if half:  # as the format holds it
        scale = straight(scale, scale.float().half().double())
    limited = parts.abs() > end
    inside = scale * straight(parts / scale.detach(), code) - (parts.detach() / scale.detach()) * (scale - scale.detach())
    outside = torch.sign(parts.detach()) * straight(end, 127 * scale)
    return torch.where(limited, outside, inside).reshape(ROWS, COLS)


def listed(name, values):
    return f"static const double {name}[] = {{{', '.join(f'{float(z):.10g}' for z in values.flatten())}}};\n"


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_quant.h"), "w") as out:
    out.write("/* Made by make_fake_quant.py. */\n/* clang-format off */\n")
    for name, group, half in (("i8", COLS, False), ("q8_0", 32, True)):
        w, factor = numbers(0.37).requires_grad_(), torch.tensor(FACTOR).float().double().requires_grad_()
        v = held(w, factor, group, half)
        (v * torch.cos(torch.arange(ROWS * COLS) * 0.9).float().double().reshape(ROWS, COLS)).sum().backward()
        out.write(listed(f"golden_{name}_held", v.detach()) + listed(f"golden_{name}_dw", w.grad) + listed(f"golden_{name}_dfactor", factor.grad))
