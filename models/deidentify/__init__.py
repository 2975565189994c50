"""De-identification for training and research: images by DICOM PS3.15 annex E, records, and a look for text in the pixels."""
