"""The process that scores: a plan on the first line it reads, a case on every other, an outcome on every line it writes.

    python -m training.archive.worker        (started by training.archive.child; it ends when nobody writes to it any more)

Whatever a file does to this process, nothing but one case is lost. What libraries print goes to its log, not between the lines.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import closing, suppress
from pathlib import Path

from models.errors import DiaphaneError
from training.archive.cases import case_of_line
from training.archive.plan import plan_of
from training.archive.score_case import Scorer
from training.archive.scored import Names

MIB = 1 << 20


def main() -> None:
    """Answer until the end of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    told = json.loads(sys.stdin.readline())
    plan = plan_of(told["plan"])
    try:
        scorer = Scorer(plan, Names(bytes.fromhex(told["key"])))
    except DiaphaneError as error:
        answers.write(json.dumps({"broken": str(error)}) + "\n")
        return
    bound(plan.memory_mib)
    answers.write(json.dumps({"ready": scorer.model.id}) + "\n")
    with closing(scorer):
        for line in sys.stdin:
            answers.write(json.dumps(scorer.score(case_of_line(line)).to_json(), allow_nan=False) + "\n")


def bound(memory_mib: int) -> None:
    """Let the process take so much more memory than it has now, and write no core, which would hold a patient's image."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped_pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    most = mapped_pages * resource.getpagesize() + memory_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # whoever asked has gone
        main()
