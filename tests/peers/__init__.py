"""Tests against programs nobody here wrote: Orthanc, dcmtk, dicom3tools, PixelMed, other clients."""
