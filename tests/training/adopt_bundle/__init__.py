"""Tests of adopting MONAI bundles."""
