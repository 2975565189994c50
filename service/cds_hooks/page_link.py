"""The way from a card to the clinician's page: of the risk, the study or the alert it tells of. Only where that page is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service.cds_hooks.asked import Asked
from service.cds_hooks.write_card import Json, Made
from service.fhir.assessed import Assessed
from service.store import entries
from service.store.risks import key_of_alert
from service.told_risks import address, told
from service.words import say


def with_page(asked: Asked, made: Made, assessed: Assessed, stay: Mapping[str, Any] | None = None) -> Made:
    """Return a card with the link to the page of its risk, which is written down shortly after."""
    house = asked.house
    if not house.settings.review:
        return made
    one = told(house.store, house.site, assessed, f"hook:{asked.call.hook}", stay=stay, card=made.shown.uuid)
    return replace(_linked(made, page_links(asked, one.key)), told=one)


def page_links(asked: Asked, key: str) -> list[Json]:
    """Return the link to the page of a risk; nothing where nobody said how browsers reach this service."""
    return _link(asked, address(asked.house.settings.public_url, key) if asked.house.settings.review else "")


def alert_links(asked: Asked, episode: str) -> list[Json]:
    """Return the link to the page of an alert."""
    return page_links(asked, key_of_alert(asked.house.store, episode)) if asked.house.settings.review else []


def study_links(asked: Asked, study_uid: str) -> list[Json]:
    """Return the link to the page of a study that is in the worklist."""
    settings = asked.house.settings
    if not (settings.review and settings.public_url):
        return []
    line = entries.by_target(asked.house.store, "study", study_uid)
    return _link(asked, f"{settings.public_url.rstrip('/')}/review/studies/{line.key}") if line else []


def _link(asked: Asked, url: str) -> list[Json]:
    return [{"label": say(asked.language, "Open in Diaphane"), "type": "absolute", "url": url}] if url else []


def _linked(made: Made, links: list[Json]) -> Made:
    return replace(made, card={**made.card, "links": [*links, *made.card.get("links", ())]}) if links else made
