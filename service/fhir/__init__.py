"""FHIR R4: what is asked, what is answered, and what is sent (https://hl7.org/fhir/R4)."""
