"""The page of what to judge next."""
