"""CDS Hooks: cards for a clinician at work, made when the record system calls (https://cds-hooks.hl7.org)."""
