"""Plain statistics for both rooms: intervals, figures of a yes/no outcome, sample sizes, paired comparisons, drift."""
