"""Scans in, scans out: what `genzoo translate` makes of DICOM, NIfTI and NRRD files, each in its own format, place and units."""
