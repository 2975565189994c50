"""Remote monitoring: measurements as they come → alerts that are raised once, cleared once, and never silent about silence."""
