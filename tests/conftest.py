"""Options of the suite: long tests run with --slow only, GPU tests where there is one, --kills says how many there are."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# The same examples every time, so that a suite that passed passes again. HYPOTHESIS_PROFILE=explore draws others each time.
settings.register_profile("suite", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes too")
    parser.addoption("--kills", type=int, default=5, help="processes that the kill test kills; 20 take a minute or two")
    parser.addoption("--kill-seed", type=int, default=1, help="what the kill test draws its times and victims from")


def pytest_collection_finish() -> None:
    """What was imported to collect thousands of tests stays: the garbage collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))
        if "gpu" in item.keywords and not _gpu():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; the CPU path of the same code is tested"))


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()
