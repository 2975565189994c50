"""The audit on pages: everything that was done, and who looked at one patient."""
