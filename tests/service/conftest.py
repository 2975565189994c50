"""The house of tiny releases, for every test of this folder."""

from tests.service.house import client, house, released

__all__ = ["client", "house", "released"]
