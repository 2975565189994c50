"""The worklist: studies and risks in one list, the most urgent first, as it is now."""
