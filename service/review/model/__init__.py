"""Pages about a release, and about one result: what made it, what became of it, and the same number once more."""
