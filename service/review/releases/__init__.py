"""Pages of which release serves here, who signed for it, and what a candidate said in shadow."""
