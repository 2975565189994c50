"""Onward: where a page sends a browser next. Only ever to another page of ours, whatever it was told."""

from __future__ import annotations

import re

HOME = "/review"
LONGEST = 255
_OURS = re.compile(r"/(review|v1)(/(?!\.{1,2}(?:[/?]|$))[A-Za-z0-9._~-]+)*/?(\?[A-Za-z0-9._~=&%+-]*)?")


def own_path(told: str) -> str:
    """Return an address of ours as it was told, else the first page. Never another site's, never one that breaks a header.

    >>> own_path("/review/models?page=2"), own_path("//elsewhere.example"), own_path("https://elsewhere.example/review")
    ('/review/models?page=2', '/review', '/review')
    """
    return told if len(told) <= LONGEST and _OURS.fullmatch(told) else HOME
