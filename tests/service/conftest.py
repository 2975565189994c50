"""The house of tiny releases, for every test of this folder; and no command run in this process leaves its log behind."""

import logging
from collections.abc import Iterator

import pytest

from tests.service.house import client, house, released

__all__ = ["client", "house", "released"]


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command of ours sends its process's log to stderr; in the tests the process is everybody's."""
    root = logging.getLogger()
    before, level = set(map(id, root.handlers)), root.level
    ours = {name: logging.getLogger(name).level for name in ("diaphane", "models")}
    yield
    for name, loudness in ours.items():
        logging.getLogger(name).setLevel(loudness)
    left = [one for one in root.handlers if type(one) is logging.StreamHandler and id(one) not in before]
    for one in left:
        root.removeHandler(one)
    if left:
        root.setLevel(level)
        logging.captureWarnings(False)
