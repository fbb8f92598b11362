"""A step of tuning an encoder, by Keel and by PyTorch eager (PEFT for LoRA): one thread each, in turn, each run a process
of its own, so that peak memory can be told.

    pip install transformers peft && experiments/fetch-base.sh minilm
    python encoder_step.py BENCH_ENCODER minilm [ROUNDS [MODE...]]

OpenBLAS chooses its kernel itself, as PyTorch's library does; KEEL_KERNEL=Haswell: AVX2 for both. Mean of tokens, a
logistic head, AdamW without decay, dropout 0.1 of what layers add, and none of attention's weights.
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
if kernel := os.environ.get("KEEL_KERNEL"):
    os.environ.update(OPENBLAS_CORETYPE=kernel, ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")


def torch_step(folder, batch, tokens, seconds, mode):
    import torch
    from transformers import AutoModel

    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False, attention_probs_dropout_prob=0.0).train()
    layers = model.config.num_hidden_layers
    if mode == "lora":
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"]))
    elif mode != "full":
        kept = tuple(f"encoder.layer.{i}." for i in range(layers // 2, layers)) if mode == "freeze" else "\n"
        for name, p in model.named_parameters():
            p.requires_grad = name.startswith(kept)
    head = torch.nn.Linear(model.config.hidden_size, 1)
    optimizer = torch.optim.AdamW([p for p in [*model.parameters(), *head.parameters()] if p.requires_grad], lr=3e-4, weight_decay=0.0)
    ids = torch.arange(batch * tokens).mul(7919).remainder(20000).add(1000).reshape(batch, tokens)
    labels = torch.arange(batch).remainder(2).float()
    best, begin = 1e9, time.process_time()
    while time.process_time() - begin < seconds:
        at = time.process_time()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(model(input_ids=ids).last_hidden_state.mean(1))[:, 0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        best = min(best, time.process_time() - at)
    print(f"{best * 1e3:.1f} ms a step, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


def run(*command):
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [float(x) for x in re.findall(r"([0-9.]+) (?:ms|MB)", out)]


def main():
    bench, folder = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    print("CPU ms a step, best of rounds: mode, texts, tokens, Keel, its products alone, PyTorch, ratio; MB, ratio")
    for mode in sys.argv[4:] or ["full"]:
        for batch in (8, 32):
            for tokens in (16, 64, 128):
                # enough for some steps of the larger
                seconds = str(max(2, batch * tokens / 500))
                ours, theirs = [1e9] * 2, [1e9]
                memory = [0, 0]
                for _ in range(rounds):
                    ms, products, mb = run(bench, "step", folder, str(batch), str(tokens), seconds, mode)
                    ours, memory[0] = [min(ours[0], ms), min(ours[1], products)], max(memory[0], mb)
                    ms, mb = run(sys.executable, __file__, "--torch", folder, str(batch), str(tokens), seconds, mode)
                    theirs, memory[1] = [min(theirs[0], ms)], max(memory[1], mb)
                print(f"{mode:6} {batch:3} {tokens:4} {ours[0]:8.1f} {ours[1]:8.1f} {theirs[0]:8.1f} {theirs[0] / ours[0]:5.2f}   "
                      f"{memory[0]:5.0f} {memory[1]:5.0f} {memory[0] / memory[1]:5.2f}", flush=True)


if sys.argv[1] == "--torch":
    torch_step(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
else:
    main()
