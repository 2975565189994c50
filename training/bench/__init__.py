"""Bench: speed as ratios from one interleaved run, with the machine it ran on. No absolute time is promised."""

from training.bench.parts import run

__all__ = ["run"]
