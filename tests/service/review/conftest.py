"""The house of reports and models, one for all tests of it."""

from tests.service.review.paper import paper, quiet_releases, study

__all__ = ["paper", "quiet_releases", "study"]
