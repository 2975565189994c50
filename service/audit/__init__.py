"""What was done by whom: kept line by line, chained so that a change shows, searched, exported and sent on."""
