"""FHIR R4 read for models: one subject's resources → events and facts. No HTTP, nothing of a profile that changes no number."""
