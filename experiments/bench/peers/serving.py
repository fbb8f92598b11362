"""What clients.py and proxy.py share: packages in a scratch folder, servers that are started, waited for and ended."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]


class Missing(Exception):
    """A package cannot be had."""


def run_quietly(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode:
        raise Missing(f"{' '.join(map(str, command[:4]))} ...: {done.stdout.strip().splitlines()[-1:] or 'failed'}")


def python_with(scratch, packages, proof):
    """The Python of a virtual environment in the scratch folder with these packages; proof: a module of theirs."""
    python = pathlib.Path(scratch) / "venv" / "bin" / "python"
    try:
        if not python.exists():
            run_quietly([sys.executable, "-m", "venv", python.parent.parent], timeout=300)
        if subprocess.run([python, "-c", f"import {proof}"], capture_output=True).returncode:
            run_quietly([python, "-m", "pip", "install", "--quiet", *packages], timeout=3600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"pip install {' '.join(packages)}: {error}") from error
    return str(python)


def node_with(scratch, packages):
    """A folder in the scratch folder where node finds these packages of npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("node and npm are not installed")
    folder = pathlib.Path(scratch) / "node"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
    if not all((folder / "node_modules" / name.rsplit("@", 1)[0]).exists() for name in packages):
        try:
            run_quietly(["npm", "install", "--silent", *packages], cwd=folder, timeout=600)
        except subprocess.TimeoutExpired as error:
            raise Missing(f"npm install {' '.join(packages)}: {error}") from error
    return folder


class Server:
    """A program that serves. ready: a pattern of a line that it prints, whose group is its port; or a port, which
    answers at /v1/models when it is ready."""

    def __init__(self, command, ready, **more):
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
        self.said, self.port = [], ready if isinstance(ready, int) else 0
        self.there = threading.Event()
        threading.Thread(target=self.read, args=(ready,), daemon=True).start()
        if isinstance(ready, int):
            self.poll()
        elif not self.there.wait(120):
            self.fail()

    def read(self, ready):
        for line in self.process.stdout:
            self.said.append(line)
            found = re.search(ready, line) if not isinstance(ready, int) and not self.port else None
            if found:
                self.port = int(found[1])
                self.there.set()

    def poll(self):
        for _ in range(1500):
            try:
                return urllib.request.urlopen(f"{self.url}/v1/models", timeout=5).read()
            except OSError as error:
                if getattr(error, "code", None) or self.process.poll() is not None:
                    break
                time.sleep(0.2)
        if self.process.poll() is not None:
            self.fail()

    def fail(self):
        self.close()
        raise SystemExit("a server did not start:\n" + "".join(self.said[-20:]))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def memory(self):
        """MiB that the process and its children hold."""
        pids, total = [self.process.pid], 0
        for pid in pids:
            try:
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    pids.extend(int(p) for p in (task / "children").read_text().split())
                total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
            except OSError:
                pass
        return total / 1024

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def keel_serve(keel, policy, *arguments, **more):
    return Server([keel, "serve", "--policy", policy, "--listen", "127.0.0.1:0", *arguments], r"serving at http://[^:]+:(\d+)", **more)


def fake_upstream(*arguments):
    return Server([sys.executable, ROOT / "tests" / "support" / "fake_upstream.py", 0, *arguments], r"^(\d+)$")


def llama_server(scratch, gguf, port):
    """llama-cpp-python's server: it takes minutes to build."""
    python = python_with(scratch, ["llama-cpp-python[server]"], "llama_cpp.server.app")
    return Server([python, "-m", "llama_cpp.server", "--model", gguf, "--port", port, "--n_ctx", 2048], port,
                  env={**os.environ, "TMPDIR": tempfile.gettempdir()})
