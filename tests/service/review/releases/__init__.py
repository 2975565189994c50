"""Tests of the pages of releases."""
