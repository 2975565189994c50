"""Where a watched folder's images go: into the store of this machine, or to a DICOMweb server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from service.dicom.arrival import Arrival
from service.gather import Reader, Source, image_of
from service.links import NotSentError, Stow, target_of
from service.settings import Settings
from service.site import read_site
from service.store.errors import StoreError
from service.store.inbox import Inbox
from service.store.store import Store


class WayIn(Protocol):
    """Where images go."""

    def keep(self, images: list[tuple[Source, Arrival]]) -> list[str]:
        """Return for each "" when it is durable, or why it is refused. Raises StoreError or NotSentError: try again."""

    def rest(self) -> None:
        """Note that nothing more comes for now: the series are complete soon."""


@contextmanager
def open_way_in(settings: Settings, to: str) -> Iterator[WayIn]:
    """Open the way to a DICOMweb root, or into the store without one."""
    if to:
        try:
            target = target_of(to, settings, read_site(settings.site))
        except NotSentError as error:
            raise SystemExit(str(error)) from None
        with Reader() as reader, Stow(target, reader) as stow:
            yield Elsewhere(stow)
        return
    try:
        store = Store.open(settings)
    except StoreError as error:
        raise SystemExit(str(error)) from None
    inbox = Inbox(store, quiet_s=settings.quiet_s, release_quiet_s=settings.release_quiet_s)
    try:
        yield Here(inbox)
    finally:
        inbox.close()
        store.close()


class Here:
    """Into the store of this machine. Between two rests, all images count to one association."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.association = secrets.token_hex(16)

    def keep(self, images: list[tuple[Source, Arrival]]) -> list[str]:
        """Keep all of them; a row the database refuses is refused by itself."""
        arrivals = [replace(arrival, association=self.association) for _, arrival in images]
        try:
            self._inbox.put_many(arrivals)
        except StoreError as error:
            if error.code != "refused":
                raise
            return [self._keep_one(arrival) for arrival in arrivals]
        return [""] * len(arrivals)

    def _keep_one(self, arrival: Arrival) -> str:
        try:
            self._inbox.put(arrival)
        except StoreError as error:
            if error.code != "refused":
                raise
            return str(error)
        return ""

    def rest(self) -> None:
        """Release the association."""
        self._inbox.released(self.association)
        self.association = secrets.token_hex(16)


class Elsewhere:
    """To a DICOMweb server; every request is released at its end."""

    def __init__(self, stow: Stow) -> None:
        self._stow = stow

    def keep(self, images: list[tuple[Source, Arrival]]) -> list[str]:
        """Send them. Raises NotSentError when some have no answer yet: they are sent again."""
        fates, why, _ = self._stow.send([image_of(source, len(arrival.data), arrival) for source, arrival in images])
        reasons = [fates.get(arrival.sop_uid) for _, arrival in images]
        known = [reason for reason in reasons if reason is not None]
        if len(known) < len(reasons):
            raise NotSentError(why)
        return [f"The server refused it: {reason}." if reason else "" for reason in known]

    def rest(self) -> None:
        """Nothing to do."""
