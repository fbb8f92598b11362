"""Golden losses and gradients of tokens with a teacher: those of torch in float64.

    pip install torch && python make_distil.py      (made with 2.15)
"""
import os

import torch

torch.set_default_dtype(torch.float64)
R, C, D, V = 7, 6, 5, 1100
TEXTS = [0, 2, 5, 7]
TARGET = [4, 0, 99, 1099, 1024, 3, 7]
COUNTS = [1, 0.5, 0, 2, 1.5, 0.25, 1]
SHARE, TEMPERATURE, SMOOTHING, DIVISOR = 0.3, 2.0, 0.1, 3.0


def numbers(rows, cols, step, factor):
    at = torch.arange(rows * cols)
    return (torch.sin(at * step + 1) * factor).float().double().reshape(rows, cols)


x, w = numbers(R, C, 0.37, 1), numbers(V, C, 0.71, 1)
y, v = numbers(R, D, 0.53, 1.5), numbers(V, D, 0.29, 1.5)
x.requires_grad_(), w.requires_grad_()
logits, taught = x @ w.T, y @ v.T
target, counts = torch.tensor(TARGET), torch.tensor(COUNTS)
cross = torch.nn.functional.cross_entropy(logits, target, reduction="none", label_smoothing=SMOOTHING)
apart = torch.nn.functional.kl_div(torch.log_softmax(logits / TEMPERATURE, 1), torch.log_softmax(taught / TEMPERATURE, 1),
                                   reduction="none", log_target=True).sum(1)
rows = counts * ((1 - SHARE) * cross + SHARE * TEMPERATURE**2 * apart) / DIVISOR
texts = torch.stack([rows[a:b].sum() for a, b in zip(TEXTS, TEXTS[1:])])
(texts * torch.tensor([1.0, -0.5, 2.0])).sum().backward()


def listed(name, values):
    return f"static const double {name}[] = {{{', '.join(f'{float(z):.15g}' for z in values)}}};\n"


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "distil.h"), "w") as out:
    out.write("/* Made by make_distil.py. */\n/* clang-format off */\n")
    out.write(listed("golden_texts", texts.detach()))
    out.write(listed("golden_dx", x.grad.flatten()))
    out.write(listed("golden_dw", w.grad[[0, 7, 99, 1023, 1024, 1099]].flatten()))
