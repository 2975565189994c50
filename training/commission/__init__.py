"""Commissioning: is this release good here? Rows of a scored archive and local truth in; figures, gates and a decision out."""
