"""A process in place of the one that trains a cell, for tests of clusters: it takes the claim and writes a record."""

import os
import subprocess
import sys

PROGRAM = """
import json, os, signal, sys, threading, time
from pathlib import Path
from lra import claims
from lra.sweeps.job import Job

job = Job.from_json(sys.stdin.buffer.readline().decode())
signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(130)), daemon=True).start()
results = Path(job.results)
def note(word):
    with open(results / "notes", "a") as file:
        file.write(f"{job.run} {word}\\n")
try:
    claim = claims.take(results, job.run)
except claims.Taken:
    os._exit(75)
with claims.held(claim):
    note("began")
    if "dies" in job.kernels and not (results / "died").exists():
        (results / "died").touch()
        os.kill(os.getpid(), 9)
    time.sleep(float(job.kernels.split()[0]))
    seen = {"status": "ok", "error": None, "seeds": [{"test": {"accuracy": 0.5}}]}
    with open(results / "records" / f"listops.demo.local.{job.run}.json", "x") as file:
        file.write(json.dumps(seen))
    note("ended")
os._exit(0)
"""


def start(job, variables=None):
    """Like `process.start`. In place of kernels a job says for how many seconds it runs, and `dies` if it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, env=os.environ | (variables or {}),
        start_new_session=True,
    )  # fmt: skip
    process.stdin.write(f"{job.to_json()}\n".encode())
    process.stdin.flush()
    return process


def notes(results, word):
    """The runs of which the processes have noted a word."""
    lines = [line.split() for line in (results / "notes").read_text().splitlines()]
    return [run for run, noted in lines if noted == word]
