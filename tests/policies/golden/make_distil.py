#!/usr/bin/env python3
"""Losses of labels mixed with a teacher's, and their slopes, by PyTorch: make_distil.py >distil.h"""
import torch

torch.manual_seed(17)
torch.set_default_dtype(torch.float64)
SHARE, T, DIVISOR = 0.3, 2.0, 5.0
x = (2 * torch.randn(6, 3)).requires_grad_()
teacher = 2 * torch.randn(6, 3)
label = torch.tensor([2, 0, -1, 1, -1, 0])  # below 0: none
taught = torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool)


def mixed(own, other):
    """own, other [n]: the loss of the label, T^2 that of the teacher."""
    has = label >= 0
    share = torch.where(taught, torch.where(has, SHARE, 1.0), 0.0)
    return (torch.where(has, (1 - share) * own, 0.0) + share * other).sum() / DIVISOR


def show(name, values):
    numbers = ", ".join(f"{v:.9g}" for v in values.flatten().tolist())
    print(f"static const double {name}[] = {{{numbers}}};")


soft = torch.softmax(teacher / T, 1)
names = mixed(torch.nn.functional.cross_entropy(x, label.clamp(min=0), reduction="none"),
              T * T * torch.nn.functional.cross_entropy(x / T, soft, reduction="none"))
names_slope, = torch.autograd.grad(names, x)
yes = x[:, 0]
soft_yes = torch.sigmoid(teacher[:, 0] / T)
logistic = torch.nn.functional.binary_cross_entropy_with_logits
risk = mixed(logistic(yes, (label > 0).double(), reduction="none"), T * T * logistic(yes / T, soft_yes, reduction="none"))
risk_slope, = torch.autograd.grad(risk, x)
print("/* Made by make_distil.py: 6 rows of 3 logits, share .3, temperature 2, over 5. */\n/* clang-format off */")
show("distil_x", x.detach())
show("distil_teacher", teacher)
print("static const int distil_label[] = {" + ", ".join(map(str, label.tolist())) + "}; /* below 0: none */")
print("static const int distil_taught[] = {" + ", ".join(str(int(t)) for t in taught) + "};")
show("distil_soft", soft)
show("distil_soft_yes", soft_yes)
show("distil_names", names.detach())
show("distil_names_slope", names_slope)
show("distil_risk", risk.detach())
show("distil_risk_slope", risk_slope[:, 0])
