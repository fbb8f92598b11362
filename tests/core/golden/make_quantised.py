"""Golden bytes of quantised rows: Q8_0 and Q4_0 as ggml's reference functions write them, INT8 and Q4_G32 by their formula in numpy.

    pip install numpy llama-cpp-python && python make_quantised.py      (made with 2.4 and 0.3.36)
"""
import ctypes
import os

import llama_cpp
import numpy as np

COLS = 96
ggml = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
rng = np.random.default_rng(17)
normal = rng.normal(size=(4, COLS)) * [[1], [1e-3], [40], [.02]]
tails = rng.normal(size=(4, COLS)) ** 3
spike = np.where(np.arange(COLS) % 40 == 7, -3.0, .01)
ties = (np.arange(COLS) - 48) / 2.0  # halves of a step of the largest block
ties[0] = -127 * 3
sparse = np.where(np.arange(COLS) < 32, 0, rng.normal(size=COLS))
rows = np.concatenate([normal, tails, [spike, ties, sparse, np.zeros(COLS)]]).astype(np.float32)


def by_ggml(function, bytes_of_block):
    quantise = getattr(ggml, function)
    quantise.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    quantise.restype = None
    made = []
    for row in rows:
        to = (ctypes.c_uint8 * (COLS // 32 * bytes_of_block))()
        quantise(row.ctypes.data, to, COLS)
        made.append(bytes(to))
    return made


def int8(row):
    """scale = largest / 127; q = x 127 / largest, ties to even"""
    most = np.float32(np.abs(row).max())
    factor = np.float32(127) / most if most > 0 else np.float32(0)
    q = np.clip(np.rint(row * factor), -127, 127).astype(np.int8)
    return np.float32(most / np.float32(127)).tobytes() + q.tobytes()


def q4_g32(row):
    """A block wants a scale d with which -8 .. 7 hold it; the row's scale is the largest d / 15, a block's step the nearest to d / scale."""
    blocks = row.reshape(-1, 32)
    wanted = np.maximum((blocks / np.where(blocks < 0, np.float32(-8), np.float32(7))).max(axis=1), 0).astype(np.float32)
    scale = np.float32(wanted.max() / np.float32(15))
    inverse = np.float32(1) / scale if scale > 0 else np.float32(0)
    made = scale.tobytes()
    for block, d in zip(blocks, wanted):
        step = np.float32(np.clip(np.rint(d * inverse), 0, 15))
        unit = scale * step
        factor = np.float32(1) / unit if unit > 0 else np.float32(0)
        q = (np.clip(np.rint(block * factor), -8, 7) + 8).astype(np.uint8)
        made += bytes([int(step)]) + (q[:16] | q[16:] << 4).tobytes()
    return made


def table(name, made):
    lines = ["    {" + ", ".join(str(b) for b in row) + "}," for row in made]
    return f"static const unsigned char golden_{name}[GOLDEN_ROWS][{len(made[0])}] = {{\n" + "\n".join(lines) + "\n};\n"


with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "quantised.h"), "w") as out:
    out.write(f"""/* Made by make_quantised.py: rows, and what they are in number formats. */
/* clang-format off */
enum {{ GOLDEN_ROWS = {len(rows)}, GOLDEN_COLS = {COLS} }};
static const float golden_rows[GOLDEN_ROWS][GOLDEN_COLS] = {{
""" + "\n".join("    {" + ", ".join(f"{float(x).hex()}f" for x in row) + "}," for row in rows) + "\n};\n")
    out.write(table("q8_0", by_ggml("quantize_row_q8_0_ref", 34)))
    out.write(table("q4_0", by_ggml("quantize_row_q4_0_ref", 18)))
    out.write(table("int8", [int8(row) for row in rows]))
    out.write(table("q4_g32", [q4_g32(row) for row in rows]))
