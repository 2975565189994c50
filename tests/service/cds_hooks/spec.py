"""The rules of the specification for discovery answers and cards, as a client that trusts nobody would check them."""

from __future__ import annotations

import re
import uuid
from typing import Any
from urllib.parse import parse_qsl

Json = dict[str, Any]
INDICATORS = ("info", "warning", "critical")
TOKENS = {"context.patientId", "context.encounterId", "context.userId"}
_TOKEN = re.compile(r"\{\{([^}]*)\}\}")
_NO_MODIFIER = re.compile(r"[A-Za-z_-]+(:in)?")


def check_service(service: Json) -> None:
    """Raise AssertionError when a service is not described as Discovery asks."""
    assert {"hook", "description", "id"} <= service.keys() <= {"hook", "title", "description", "id", "prefetch", "usageRequirements"}
    _nothing_empty(service)
    for template in service.get("prefetch", {}).values():
        assert set(_TOKEN.findall(template)) <= TOKENS
        path, _, query = template.partition("?")
        assert re.fullmatch(r"[A-Z][A-Za-z]+(/\{\{context\.\w+\}\})?", path)
        assert not (query and "/" in path)
        for name, value in parse_qsl(query, strict_parsing=True) if query else ():
            assert _NO_MODIFIER.fullmatch(name)
            assert name in ("patient", "code", "_sort", "_count", "category", "date")
            assert value


def check_card(card: Json) -> None:
    """Raise AssertionError when a card is not as Card Attributes asks."""
    assert {"summary", "indicator", "source"} <= card.keys()
    assert card.keys() <= {"uuid", "summary", "detail", "indicator", "source", "suggestions", "selectionBehavior", "overrideReasons",
                           "links"}
    _nothing_empty(card)
    assert 0 < len(card["summary"]) < 140
    assert "\n" not in card["summary"]
    assert card["indicator"] in INDICATORS
    assert str(uuid.UUID(card["uuid"])) == card["uuid"]
    assert card["source"]["label"]
    assert ("suggestions" in card) == ("selectionBehavior" in card)
    assert card.get("selectionBehavior", "any") in ("any", "at-most-one")
    assert all(reason["display"] and reason["code"] and reason["system"] for reason in card.get("overrideReasons", ()))
    for link in card.get("links", ()):
        assert link["label"]
        assert link["type"] == "absolute"
        assert link["url"].startswith(("https://", "http://127.0.0.1:"))
    for suggestion in card.get("suggestions", ()):
        assert suggestion["label"]
        assert suggestion["isRecommended"] is False
        for action in suggestion["actions"]:
            assert action["type"] in ("create", "update")
            assert action["description"]
            assert action["resource"]["resourceType"]
    assert "<" not in card.get("detail", ""), "HTML"
    for url in re.findall(r"\]\(([^)]*)\)|https?://\S+", card.get("detail", "")):
        raise AssertionError(f"a link in the detail: {url}")


def _nothing_empty(value: Any) -> None:
    """JSON elements SHALL NOT be null or empty."""
    assert value not in (None, "", [], {})
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _nothing_empty(one)
