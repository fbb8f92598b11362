"""A step of training a decoder, by Keel and by PyTorch eager (transformers' Llama, PEFT for LoRA and prompts): one thread each, in turn, each run a process of its
own, so that peak memory can be told. Loss on all tokens, AdamW, no dropout.

    pip install torch transformers peft
    python decoder_step.py BENCH_DECODER_STEP [ROUNDS [CASE...]]

Cases: 10m (8 layers of 256, 8 x 256 tokens), gpt2 (124 M, 4 x 64 tokens), long (10m, 1 x 4096 tokens), lora, prompt (10m). Of each: milliseconds of CPU time a step
(best of rounds), MB above the model before its first step; Keel also with products in bfloat16 (PyTorch: autocast), activations in 16 bits, layers run again.
OpenBLAS chooses its kernel itself, as PyTorch's library does.
"""
import os
import re
import resource
import subprocess
import sys
import time

os.environ.update(CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
CASES = {  # shape, texts, tokens, mode
    "10m": ("8,256,8,8,688,8192", 8, 256, "full"),
    "gpt2": ("12,768,12,12,2048,50257", 4, 64, "full"),
    "long": ("8,256,8,8,688,8192", 1, 4096, "full"),
    "lora": ("8,256,8,8,688,8192", 8, 256, "lora"),
    "prompt": ("8,256,8,8,688,8192", 8, 256, "prompt"),
}


def torch_step(shape, texts, tokens, seconds, mode, precision):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    layers, hidden, heads, kv, inner, vocabulary = map(int, shape.split(","))
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
                                         num_key_value_heads=kv, max_position_embeddings=1 << 20, tie_word_embeddings=True, use_cache=False)).train()
    if mode == "lora":
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    if mode == "prompt":
        from peft import PromptTuningConfig, get_peft_model
        model = get_peft_model(model, PromptTuningConfig(num_virtual_tokens=20, task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4, weight_decay=0.0)
    ids = torch.arange(texts * tokens).mul(7919).remainder(vocabulary).reshape(texts, tokens)
    best, begin = 1e9, time.process_time()
    model(input_ids=ids[:1, :2])  # what libraries load when they are first used
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds = 0
    while rounds < 3 or time.process_time() - begin < seconds:
        at = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        best = min(best, time.process_time() - at)
        rounds += 1
    print(f"{best * 1e3:.1f} ms a step, {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.1f} MB above the model")


def run(*command):
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return float(re.search(r"([0-9.]+) ms a step", out)[1]), float(re.search(r"([0-9.]+) MB above", out)[1])


def main():
    bench = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print("case, who: CPU ms a step, tokens a CPU second, MB above the model; ratios to PyTorch in f32")
    for case in sys.argv[3:] or ["10m", "gpt2", "long"]:
        shape, texts, tokens, mode = CASES[case]
        ours = [("f32", "all"), ("bf16", "all"), ("f32", "bf16"), ("bf16", "bf16"), ("f32", "none"), ("bf16", "none")]
        found = {}
        for _ in range(rounds):
            for precision in ("f32", "bf16"):
                ms, mb = run(sys.executable, __file__, "--torch", shape, str(texts), str(tokens), "3", mode, precision)
                was = found.get(("PyTorch", precision, "all"), (1e9, 0))
                found["PyTorch", precision, "all"] = min(was[0], ms), max(was[1], mb)
            for precision, keep in ours:
                ms, mb = run(bench, shape, str(texts), str(tokens), "3", mode, precision, keep)
                was = found.get(("Keel", precision, keep), (1e9, 0))
                found["Keel", precision, keep] = min(was[0], ms), max(was[1], mb)
        peer = found["PyTorch", "f32", "all"]
        for (who, precision, keep), (ms, mb) in found.items():
            print(f"{case:6} {who:7} {precision:4} keeps {keep:4} {ms:8.1f} ms {texts * tokens / ms * 1e3:7.0f} /s {mb:7.1f} MB   {peer[0] / ms:5.2f} x {mb / peer[1]:5.2f}",
                  flush=True)


if sys.argv[1] == "--torch":
    torch_step(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6], sys.argv[7])
else:
    main()
