"""The commands of a release say what holds where the node runs, not only what holds for the files they were given."""

from __future__ import annotations

import logging

import pytest
from typer.testing import CliRunner

from service.releases.commands import app
from tests.service.releases.conftest import OLD, Bench

SILENT = f"Nobody has signed for {OLD}."


@pytest.fixture(autouse=True)
def no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIAPHANE_SITE", "DIAPHANE_SETTINGS"):
        monkeypatch.delenv(name, raising=False)


def live(bench: Bench) -> str:
    root = logging.getLogger()
    before = list(root.handlers)
    done = CliRunner().invoke(app, ["live", OLD, "--name", "Test STEWARD", "--store", str(bench.settings.store),
                                    "--released", str(bench.folder)])
    root.handlers[:] = before  # its log went where the runner read it
    assert 0 == done.exit_code, done.output
    return done.output


def test_without_a_site_file_live_says_that_an_unsigned_release_may_stay_silent(free: Bench) -> None:
    assert SILENT in live(free)


def test_a_signed_release_is_live_without_a_warning(free: Bench) -> None:
    free.sign(OLD)
    assert SILENT not in live(free)
