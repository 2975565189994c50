"""Learn: which results are worth a verdict next, so that models learn most and the local test grows without bias."""
