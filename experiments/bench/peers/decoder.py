"""Keel's decoder beside the libraries, on the real SmolLM2: dequantised weights, tokens, perplexity, greedy text, folders and files that Keel writes.

    pip install torch transformers gguf llama-cpp-python && experiments/fetch-base.sh smollm2
    python decoder.py KEEL BENCH_DECODER smollm2 LINES.txt [N [weights,tokens,greedy,llama.cpp]]

LINES: texts, one a line; perplexity is taken of the first 200. N tokens (200) after each of 20 prompts. transformers computes in float32 on the weights that the package gguf
dequantises, and, once more, on the folder that `keel convert` writes.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import warnings

os.environ.update(CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")
import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from gguf import quants  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402

keel, bench, folder, lines_path = sys.argv[1:5]
N = int(sys.argv[5]) if len(sys.argv) > 5 else 200
parts = sys.argv[6].split(",") if len(sys.argv) > 6 else ["weights", "tokens", "greedy", "llama.cpp"]
torch.set_num_threads(1)
work = tempfile.mkdtemp()
file = glob.glob(os.path.join(folder, "*.gguf"))[0]
NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
prompts = ["The capital of France is", "How do I bake bread?", "def add(a, b):", "Once upon a time,", "A short list of colours: red,", "Water boils at", "Dear Sir or Madam,",
           "The three laws of motion are", "import numpy as np\n", "Q: What is 12 times 12?\nA:", "In 1969,", "The quick brown fox", "My favourite book is", "Ingredients: flour,",
           "To reset your password,", "I would like to book a table for", "The patient complained of", "SELECT name FROM", "Roses are red,", "It was a dark and stormy night;"]


def run(*arguments, text=None, raw=False):
    out = subprocess.run(arguments, input=text, capture_output=True, text=not raw)
    if out.returncode:
        sys.exit(f"{' '.join(arguments)}: {out.stderr}")
    return out.stdout


# ---- the model of transformers, on weights that the package gguf dequantises ----

reader = gguf.GGUFReader(file)
field = lambda key: reader.fields["llama." + key].contents()  # noqa: E731
heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
weights = {}
for t in reader.tensors:
    x = quants.dequantize(t.data, t.tensor_type)
    part = t.name.split(".")
    if part[0] != "blk":
        key = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[t.name]
    else:
        key = f"model.layers.{part[1]}.{NAMES[part[2]]}.weight"
        if part[2] in ("attn_q", "attn_k"):
            n = heads if part[2] == "attn_q" else kv_heads
            x = x.reshape(n, x.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(x.shape)
    weights[key] = np.ascontiguousarray(x, dtype=np.float32)
model = LlamaForCausalLM(LlamaConfig(
    vocab_size=weights["model.embed_tokens.weight"].shape[0], hidden_size=field("embedding_length"), intermediate_size=field("feed_forward_length"), num_hidden_layers=field("block_count"),
    num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=field("context_length"), rms_norm_eps=float(f"{field('attention.layer_norm_rms_epsilon'):.6g}"),
    rope_parameters={"rope_type": "default", "rope_theta": field("rope.freq_base")}, tie_word_embeddings=True)).eval()
missing, extra = model.load_state_dict({k: torch.from_numpy(w) for k, w in weights.items()}, strict=False)
assert missing == ["lm_head.weight"] and not extra, (missing, extra)
model.tie_weights()
made = os.path.join(work, "folder")
run(keel, "convert", "--base", folder, "--out", made, "--weights", "f32", "--quiet")
tokenizer = AutoTokenizer.from_pretrained(made)
golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/policies/golden")
tiny = {name: texts[-1] for name, texts in json.load(open(os.path.join(golden, "llama.json"))).items()}


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def compare_weights():
    """Dequantised ones; folders that Keel writes, of SmolLM2 and of tiny models of every shape."""
    found = np.frombuffer(run(bench, "dump", folder, *weights, raw=True), np.float32)
    same = found.tobytes() == b"".join(w.tobytes() for w in weights.values())
    print(f"weights: {found.size} in {len(weights)} tensors, {'the same bits as' if same else 'DIFFERENT from'} those of gguf")
    ids = tokenizer(prompts[1]).input_ids
    other = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32).eval()
    print(f"folder: transformers' logits {(logits_of(model, ids) - logits_of(other, ids)).abs().max().item():.2g} apart")
    for name, text in tiny.items():
        at, to = os.path.join(golden, "llama", name), os.path.join(work, name)
        run(keel, "convert", "--base", at, "--out", to, "--weights", "f32", "--quiet")
        logits = [logits_of(AutoModelForCausalLM.from_pretrained(p, dtype=torch.float32), text["ids"]) for p in (at, to)]
        print(f"folder of {name}: transformers' logits {(logits[0] - logits[1]).abs().max().item():.2g} apart")


# ---- tokens, perplexity ----


def likelihood(weights, texts):
    rows = [line.split() for line in run(bench, "likelihood", folder, weights, text="\n".join(texts) + "\n").split("\n")[:-1]]
    return np.array([float(r[0]) for r in rows]), sum(int(r[1]) for r in rows)


def compare_tokens():
    texts = [t for t in open(lines_path, encoding="utf-8").read().split("\n") if t][:10000]
    ours = [[int(i) for i in line.split()] for line in run(bench, "tokens", folder, text="\n".join(texts) + "\n").split("\n")[:-1]]
    differ = sum(a != b for a, b in zip(ours, tokenizer(texts).input_ids))
    print(f"tokens: {differ} of {len(texts)} lines differ")
    theirs = []
    for ids in ours[:200]:
        p = torch.log_softmax(logits_of(model, ids)[:-1].double(), -1)
        theirs.append(p.gather(1, torch.tensor(ids)[1:, None]).sum().item())
    for name in ("f32", "bf16", "q8_0"):
        sums, count = likelihood(name, texts[:200])
        a, b = np.exp(-sum(sums) / count), np.exp(-sum(theirs) / count)
        print(f"perplexity of 200 lines, {count} tokens, in {name}: {a:.5f}, transformers {b:.5f}, {abs(a / b - 1):.1e} apart; ln p of a line at most {np.abs(sums - theirs).max():.1e}")


# ---- greedy text ----


def greedy(path, weights):
    text = "\n".join(p.replace("\n", "\x1e") for p in prompts) + "\n"  # what bench_decoder takes for a line break
    return [[int(i) for i in line.split()] for line in run(bench, "greedy", path, weights, str(N), text=text).split("\n")[:-1]]


def compare(what, found, expected):
    """How many are the same to the end; where not, after how many tokens they part."""
    parts = [next((i for i, (a, b) in enumerate(zip(f, e)) if a != b), min(len(f), len(e))) for f, e in zip(found, expected)]
    print(f"greedy, {N} tokens on {len(prompts)} prompts: {sum(p >= N for p in parts)} as {what}" + "".join(f"; one parts after {p}" for p in parts if p < N))


def compare_greedy():
    expected = []
    for text in prompts:
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=N, min_new_tokens=N, eos_token_id=None, pad_token_id=0)
        expected.append(out[0, ids.shape[1]:].tolist())
    compare("transformers in f32", greedy(folder, "f32"), expected)


# ---- llama.cpp on files that Keel writes; keys and values in f32, as Keel has them ----


def run_llama_cpp(path, text):
    from llama_cpp import Llama
    llama = Llama(path, n_ctx=512, n_threads=1, verbose=False, type_k=0, type_v=0)
    out = []
    for t in text:
        llama.reset()
        said = []
        for token in llama.generate(llama.tokenize(t.encode(), add_bos=False, special=True), temp=0):
            said.append(token)
            if len(said) == N:
                break
        out.append(said)
    return out


def compare_rounding(path, kind):
    """Logits of the 5 tokens that most probably come after each prompt, Keel's in f32 on the weights of the file being exact: root mean square of differences."""
    from llama_cpp import Llama
    arguments = [x for p in prompts for x in ("--text", p)]
    exact, ours = ([{t["id"]: t["logit"] for t in p["next"]} for p in json.loads(run(keel, "verify", "--base", path, "--weights", w, "--json", "--quiet", *arguments))["prompts"]]
                   for w in ("f32", "f32" if kind == "f16" else kind))
    llama = Llama(path, n_ctx=256, n_threads=1, verbose=False, logits_all=True, type_k=0, type_v=0)
    of_keel, of_llama_cpp = [], []
    for prompt, e, o in zip(prompts, exact, ours):
        ids = llama.tokenize(prompt.encode(), add_bos=False, special=True)
        llama.reset()
        llama.eval(ids)
        of_llama_cpp += [e[i] - llama.scores[len(ids) - 1][i] for i in e]
        of_keel += [e[i] - o[i] for i in e if i in o]
    rms = lambda d: np.sqrt(np.mean(np.square(d)))  # noqa: E731
    print(f"{kind}.gguf: logits from exact ones on its weights: Keel {rms(of_keel):.2g}, llama.cpp {rms(of_llama_cpp):.2g}")


def compare_llama_cpp():
    from llama_cpp import Llama
    for name, text in tiny.items():
        path = os.path.join(work, name + ".gguf")
        run(keel, "convert", "--base", os.path.join(golden, "llama", name), "--out", path, "--weights", "f32", "--quiet")
        llama = Llama(path, n_ctx=256, n_threads=1, verbose=False, logits_all=True, type_k=0, type_v=0)
        llama.eval(text["ids"])
        print(f"{name}.gguf: llama.cpp's logits {np.abs(np.array(llama.scores[len(text['ids']) - 1]) - text['logits']).max():.2g} from the golden ones")
        del llama
    for kind in ("f32", "f16", "bf16", "q8_0", "q4_0"):
        path = os.path.join(work, kind + ".gguf")
        run(keel, "convert", "--base", folder, "--out", path, "--weights", kind, "--quiet")
        ours = "f32" if kind == "f16" else kind
        compare_rounding(path, kind)
        compare(f"{kind}.gguf in llama.cpp, Keel on it in {ours}", greedy(path, ours), run_llama_cpp(path, prompts))
        os.remove(path)


for part, compare_part in {"weights": compare_weights, "tokens": compare_tokens, "greedy": compare_greedy, "llama.cpp": compare_llama_cpp}.items():
    if part in parts:
        compare_part()
