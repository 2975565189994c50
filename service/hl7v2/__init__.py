"""HL7 v2 as French hospitals hand documents on (CI-SIS, transmission d'un document CDA-R2 en HL7v2, 2.1): written, sent, answered."""
