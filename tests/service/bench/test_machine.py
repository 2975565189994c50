"""What the bench reads of processes: their names, memory, CPU time and families."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from service.bench.machine import Others, command_of, cpu_s, describe_machine, family, rss_mib


def test_a_child_is_of_the_family_until_it_ends_and_its_cpu_time_stays() -> None:
    before = cpu_s([os.getpid()])
    burning = "import time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burning], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in family(os.getpid())
        assert rss_mib(child.pid) > 1
        assert cpu_s([child.pid]) >= 0.15
        child.communicate(b"\n")
    assert child.pid not in family(os.getpid())
    assert 0 == rss_mib(child.pid)
    assert cpu_s([os.getpid()]) - before >= 0.15, "what an ended child used counts for its parent"


def test_a_command_of_ours_is_told_from_other_programs() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "-m", "service", "work"], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 10
        while command_of(child.pid) != "work" and time.monotonic() < until:
            time.sleep(0.01)
        assert "work" == command_of(child.pid)
        child.communicate(b"\n")
    assert "python" in command_of(os.getpid()) or "pytest" in command_of(os.getpid())


def test_our_own_work_is_not_counted_as_that_of_others() -> None:
    others = Others([])
    assert 0 <= others.share() <= 1
    assert describe_machine()["cores"] >= 1
