"""What `keel serve` adds to its upstream's own time, beside litellm's proxy on the same upstream.

    python3 proxy.py BUILD POLICY [--scratch DIR] [--rounds N]

BUILD: the folder with keel, bench_upstream and bench_serve. Packages are installed into DIR (default: keel-peers in the folder of temporary files); litellm is pinned to a version whose
parts PyPI has all of. The upstream (bench_upstream) answers after 20 ms, or at once; the load (bench_serve) is one client that asks one request after the other, or 16 at once. Each round asks
the upstream itself, Keel and litellm the same in turn, so that whatever else the machine does meets all. Both proxies pass one candidate on; Keel chooses between it and a refusal, and
logs both with --store; litellm logs nothing. Both have one process. Printed: medians over the rounds.
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import serving

KEY = "sk-5f2d6b9a8c1e4f70b3d2a1908f7e6d5c"
PACKAGES = ["litellm[proxy]==1.106.12"]
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("build")
parser.add_argument("policy")
parser.add_argument("--scratch", default=os.path.join(tempfile.gettempdir(), "keel-peers"))
parser.add_argument("--rounds", type=int, default=7)
options = parser.parse_args()
build = pathlib.Path(options.build).resolve()
BODY = '{"model":"bench","messages":[{"role":"user","content":"Please tell me about a pasta recipe"}],"max_tokens":64}\n'


def litellm(scratch, work, upstreams, port):
    """One proxy in front of both upstreams: its models are named after their milliseconds."""
    python = serving.python_with(scratch, PACKAGES, "litellm.proxy.proxy_server")
    models = "".join(f"  - model_name: bench{ms}\n    litellm_params: {{model: openai/bench, api_base: {u.url}/v1, api_key: none}}\n" for ms, u in upstreams.items())
    config = pathlib.Path(work) / "litellm.yaml"
    config.write_text(f"model_list:\n{models}general_settings: {{master_key: {KEY}}}\nlitellm_settings: {{telemetry: false}}\n")
    return serving.Server([pathlib.Path(python).parent / "litellm", "--config", config, "--port", port, "--host", "127.0.0.1", "--num_workers", "1"], port,
                            env={**os.environ, "LITELLM_LOG": "ERROR"})


def load(port, body, connections, requests):
    """Median milliseconds, requests a second."""
    done = subprocess.run([build / "bench_serve", f"127.0.0.1:{port}", "--path", "/v1/chat/completions", "--body", body, "--token", "PEERS_KEY", "--connections", str(connections), "--warm", "20",
                           "--requests", str(requests)], capture_output=True, text=True, env={**os.environ, "PEERS_KEY": KEY})
    if done.returncode:
        raise SystemExit(f"port {port}: {done.stdout}{done.stderr}")
    return float(re.search(r"p50 ([\d.]+)", done.stdout)[1]), float(re.search(r"requests/s ([\d.]+)", done.stdout)[1])


with tempfile.TemporaryDirectory() as work:
    bodies = {}
    for ms in (20, 0):
        bodies[ms] = os.path.join(work, f"body{ms}.json")
        pathlib.Path(bodies[ms]).write_text(BODY.replace('"bench"', f'"bench{ms}"'))
    open_now = []
    try:
        upstreams = {ms: serving.Server([build / "bench_upstream", 0, ms], r"^(\d+)$") for ms in (20, 0)}
        open_now += upstreams.values()
        keels = {ms: serving.keel_serve(build / "keel", options.policy, "--upstream", f"{u.url}/v1", "--store", os.path.join(work, f"served{ms}.db")) for ms, u in upstreams.items()}
        open_now += keels.values()
        try:
            other = litellm(options.scratch, work, upstreams, 18000 + os.getpid() % 2000)
        except serving.Missing as missing:
            print(f"SKIPPED: {missing}")
            sys.exit(77)
        open_now.append(other)
        who = {"upstream": {ms: u.port for ms, u in upstreams.items()}, "keel": {ms: k.port for ms, k in keels.items()}, "litellm": dict.fromkeys((20, 0), other.port)}
        took, over, rate = ({name: [] for name in who} for _ in range(3))
        for _ in range(options.rounds):
            here = {name: load(ports[20], bodies[20], 1, 100)[0] for name, ports in who.items()}
            for name, ports in who.items():
                took[name].append(here[name])
                over[name].append(here[name] - here["upstream"])
                rate[name].append(load(ports[0], bodies[0], 16, 200 if name == "litellm" else 5000)[1])
        memory = {"upstream": upstreams[20].memory(), "keel": keels[0].memory(), "litellm": other.memory()}
    finally:
        for server in reversed(open_now):
            server.close()
print(f"{options.rounds} rounds; {PACKAGES[0]}")
print(f"{'':10}{'ms, upstream 20':>18}{'of that added':>16}{'requests/s at 16':>18}{'MiB':>8}")
for name in who:
    print(f"{name:10}{statistics.median(took[name]):>18.2f}{statistics.median(over[name]):>16.2f}{statistics.median(rate[name]):>18.0f}{memory[name]:>8.0f}")
