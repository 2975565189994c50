"""The page of patients' rights."""
