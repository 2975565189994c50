"""A site's archive, scored: where cases come from, one case at a time or many at once, and the rows that remain of them."""
