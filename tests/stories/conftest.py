"""The house of tiny releases, for every story told over HTTP."""

from tests.service.house import client, house, released

__all__ = ["client", "house", "released"]
