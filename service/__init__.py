"""Who talks to us: the HTTP service, its limits, its answers and its demonstration. No torch, no training."""
