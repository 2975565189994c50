"""The technical file: what a hospital or an auditor asks for, generated from releases, code and tests."""
