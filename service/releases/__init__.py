"""Which release serves here: who signed for it, what it may do, what a candidate said in shadow, and when it takes the place."""
