"""Bench of the PACS side: how fast images are received, and ten minutes of the full path. `python -m service bench-pacs`."""
