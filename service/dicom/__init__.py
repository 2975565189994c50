"""The DICOM room: images in by C-STORE and DICOMweb, results out as SR, SEG, parametric map and secondary capture."""
