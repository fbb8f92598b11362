#!/usr/bin/env python3
"""Recomputes the outputs of discrete_cql.json in double precision from its inputs, with the standard library alone.

    python3 tests/rl/golden/make_discrete_cql.py tests/rl/golden/discrete_cql.json

Discrete CQL with a double-Q target on one fixed batch, network 8-16-16-4 with ReLU; Adam; after every step
target <- (1 - tau) target + tau online. Inputs are float32 values (9 digits bring them back exactly).
"""
import json
import math
import struct
import sys


def matvec(weight, bias, x):
    return [b + sum(w * v for w, v in zip(row, x)) for row, b in zip(weight, bias)]


def forward(p, x):
    h1 = [max(0.0, z) for z in matvec(p["W1"], p["b1"], x)]
    h2 = [max(0.0, z) for z in matvec(p["W2"], p["b2"], h1)]
    return matvec(p["W3"], p["b3"], h2), h1, h2


def zeros_like(value):
    return [zeros_like(v) for v in value] if isinstance(value, list) else 0.0


def add_layer(grad, name, delta, x):
    for o, d in enumerate(delta):
        grad["b" + name][o] += d
        for i, v in enumerate(x):
            grad["W" + name][o][i] += d * v


def back(weight, delta, hidden):
    return [sum(weight[o][i] * d for o, d in enumerate(delta)) if h > 0 else 0.0 for i, h in enumerate(hidden)]


def loss_and_gradient(p, target, batch, config, kind, alpha):
    n = len(batch["obs"])
    td = conservative = 0.0
    grad = {name: zeros_like(value) for name, value in p.items()}
    for s, a, r, s_next, end in zip(*(batch[k] for k in ("obs", "action", "reward", "next_obs", "terminal"))):
        y = r
        if not end:
            q_next = forward(p, s_next)[0]
            y += config["gamma"] * forward(target, s_next)[0][q_next.index(max(q_next))]
        q, h1, h2 = forward(p, s)
        high = max(q)
        total = sum(math.exp(v - high) for v in q)
        d = q[a] - y
        huber = kind == "huber" and abs(d) >= 1
        td += (abs(d) - 0.5 if huber else 0.5 * d * d) / n
        conservative += (high + math.log(total) - q[a]) / n
        slope = math.copysign(1.0, d) if huber else d
        delta = [(alpha * (math.exp(v - high) / total - (j == a)) + (slope if j == a else 0.0)) / n
                 for j, v in enumerate(q)]
        add_layer(grad, "3", delta, h2)
        delta = back(p["W3"], delta, h2)
        add_layer(grad, "2", delta, h1)
        add_layer(grad, "1", back(p["W2"], delta, h1), s)
    return td, conservative, grad


def each(function, first, *rest):
    if isinstance(first, list):
        return [each(function, *values) for values in zip(first, *rest)]
    return function(first, *rest)


def train(inputs, config, kind, alpha):
    p, target = inputs["online"], inputs["target"]
    m = {name: zeros_like(value) for name, value in p.items()}
    v = {name: zeros_like(value) for name, value in p.items()}
    b1, b2 = config["beta1"], config["beta2"]
    out = {"td_loss": kind, "alpha": alpha, "after": {}, "total_loss_before_step": []}
    for t in range(1, 101):
        td, conservative, g = loss_and_gradient(p, target, inputs["batch"], config, kind, alpha)
        total = td + alpha * conservative
        out["total_loss_before_step"].append(total)
        if t == 1:
            out["loss"] = {"td": td, "conservative": conservative, "total": total}
            out["grad"] = g
        step = lambda w, mean, square: w - config["lr"] * (mean / (1 - b1 ** t)) / (
            math.sqrt(square / (1 - b2 ** t)) + config["eps"])
        for name in p:
            m[name] = each(lambda old, new: b1 * old + (1 - b1) * new, m[name], g[name])
            v[name] = each(lambda old, new: b2 * old + (1 - b2) * new * new, v[name], g[name])
        p = {name: each(step, p[name], m[name], v[name]) for name in p}
        target = {name: each(lambda old, new: (1 - config["tau"]) * old + config["tau"] * new, target[name], p[name])
                  for name in p}
        if t in (1, 10, 100):
            out["after"][str(t)] = {"online": p, "target": target}
    return out


class Short(float):
    def __repr__(self):
        return "%.9g" % self


def shorten(value):
    if isinstance(value, dict):
        return {k: shorten(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shorten(v) for v in value]
    return Short(value) if isinstance(value, float) else value


def dump(value):
    if isinstance(value, dict):
        return "{" + ",".join(json.dumps(k) + ":" + dump(v) for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dump(v) for v in value) + "]"
    return repr(value) if isinstance(value, Short) else json.dumps(value)


def to_float32(value):
    if isinstance(value, dict):
        return {k: to_float32(v) for k, v in value.items()}
    if isinstance(value, list):
        return [to_float32(v) for v in value]
    return struct.unpack("f", struct.pack("f", value))[0] if isinstance(value, float) else value


def main(path):
    with open(path) as file:
        golden = json.load(file)
    golden["inputs"] = to_float32(golden["inputs"])
    golden["variants"] = [train(golden["inputs"], golden["config"], kind, alpha)
                          for kind in ("half_mse", "huber") for alpha in (0.1, 1.0)]
    text = "{\n" + ",\n".join(json.dumps(k) + ":" + dump(shorten(golden[k])) for k in ("config", "inputs", "variants")) + "\n}\n"
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
