"""IHE XDM, as the secure mail of French health professionals (MSSanté) wants documents: one archive a report, put into a folder."""
