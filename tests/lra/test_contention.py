"""The share of the cores that other programs take is what they take."""

import os
import subprocess
import sys
import time

import pytest

from lra import contention
from lra.contention import Clock, Contention

HZ = os.sysconf("SC_CLK_TCK")


def at(tmp_path, monkeypatch, rows, own):
    """Sets what the system says: for each core user, nice, system, idle, iowait, irq, softirq, steal in seconds."""
    lines = [f"cpu{core} " + " ".join(str(int(x * HZ)) for x in row) + " 7 7" for core, row in rows.items()]
    (tmp_path / "stat").write_text("\n".join(["cpu  1 2 3", *lines, "intr 1"]) + "\n")
    monkeypatch.setattr(contention, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(os, "times", lambda: (own, 0.0, 0.0, 0.0, 0.0))


def test_share_of_other_programs(tmp_path, monkeypatch):
    taken = Contention()
    at(tmp_path, monkeypatch, {0: [1, 0, 0, 9, 0, 0, 0, 0], 1: [2, 0, 0, 8, 0, 0, 0, 0], 2: [9] * 8}, own=2)
    taken.begin()
    # ten seconds of two cores: 16 in use, of which 6 are ours, and 4 idle or waiting for a disk
    at(tmp_path, monkeypatch, {0: [4, 1, 1, 10, 1, 1, 1, 1], 1: [8, 0, 2, 10, 0, 0, 0, 0], 2: [99] * 8}, own=8)
    taken.end()
    assert taken.total == 20
    assert taken.share == pytest.approx((16 - 6) / 20)


def test_several_spans_are_added(tmp_path, monkeypatch):
    taken = Contention(total=10, others=1)
    at(tmp_path, monkeypatch, {0: [0] * 8, 1: [0] * 8}, own=0)
    taken.begin()
    at(tmp_path, monkeypatch, {0: [5, 0, 0, 0, 0, 0, 0, 0], 1: [0, 0, 0, 5, 0, 0, 0, 0]}, own=1)
    taken.end()
    assert (taken.total, taken.others) == (20, 5)


@pytest.mark.parametrize("text", [None, "", "cpu0 1 2 3 4 5 6 7 8\n"], ids=["no file", "empty", "a core is missing"])
def test_a_system_that_does_not_tell(tmp_path, monkeypatch, text):
    if text is not None:
        (tmp_path / "stat").write_text(text)
    monkeypatch.setattr(contention, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    taken = Contention()
    taken.begin()
    taken.end()
    assert taken.share is None


@pytest.mark.skipif(not contention.STAT.exists(), reason="the system does not tell")
def test_a_busy_neighbour_is_seen():
    assert isinstance(contention.clock(), Clock)
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(spin, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        taken, before = Contention(), other_seconds(other.pid)
        taken.begin()
        while other_seconds(other.pid) < before + 0.5:
            time.sleep(0.05)
        taken.end()
        other.kill()
    assert taken.others >= 0.4


def other_seconds(process):
    """The processor time of another process."""
    fields = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HZ
