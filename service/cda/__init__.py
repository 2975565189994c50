"""The French imaging report (IMG-CR-IMG 2024.01) as a CDA R2 document: written from a validated report, never read."""
