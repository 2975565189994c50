"""Refit: a released model learns from the verdicts of one hospital, is compared with what it was, and passes a gate or stays."""
