"""The room of the audit."""
