"""Tests of which release serves here."""
