"""The part of the site file that decides which release may speak here, and how releases are watched.

    [commissioning]   must a named person have signed for a release before it goes live?      [watch]   how releases are watched
"""

from __future__ import annotations

from pydantic import Field

from service.site_review import Part


class CommissioningRules(Part):
    """Whether a release must be commissioned and signed for before it speaks here.

    A site file asks for it unless it says ``required = false``; without a site file, on one machine, nobody is asked.
    """

    required: bool = True


class WatchRules(Part):
    """How releases are watched: how long what was seen of single cases is kept, and when the golden inputs are scored again."""

    keep_days: int = Field(90, ge=7, le=3660)
    golden_hour: int = Field(3, ge=0, le=23)  # local time
