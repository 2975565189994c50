"""Verdicts: what professionals say of results, and what follows from it."""
