"""`python -m service demo --serve` ends by printing a link that logs in once, to a full list, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.make import ROOT
from tests.peers.running import wait_for

pytestmark = pytest.mark.slow


def test_the_demonstration_prints_a_link_to_a_full_list_and_stops_cleanly(tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "service", "demo", "--serve", "--store", str(tmp_path / "demo")], cwd=ROOT,
                                   stdout=out, stderr=out, start_new_session=True, env=os.environ | {"COLUMNS": "300"})
    try:
        def link() -> str:
            found = re.search(r"http://\S+/review/login\?link=\S+", said.read_text(encoding="utf-8"))
            return found[0] if found else ""

        wait_for(lambda: link() or process.poll() is not None, 600, lambda: said.read_text(encoding="utf-8"))
        assert process.poll() is None, said.read_text(encoding="utf-8")
        family = psutil.Process(process.pid).children(recursive=True)
        with httpx.Client(follow_redirects=True, timeout=30, trust_env=False, headers={"accept": "text/html"}) as browser:
            page = browser.get(link())
            assert 200 == page.status_code
            listed = browser.get(page.url.join("/review"))
            assert {"EXEMPLE", "MODELE", "SPECIMEN"} <= set(re.findall(r"[A-Z]{5,}", listed.text))
        with httpx.Client(follow_redirects=False, timeout=30, trust_env=False, headers={"accept": "text/html"}) as second:
            again = second.get(link())
            assert "set-cookie" not in again.headers or "diaphane=" not in again.headers["set-cookie"]
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(60)
        assert not psutil.wait_procs(family, timeout=5)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
