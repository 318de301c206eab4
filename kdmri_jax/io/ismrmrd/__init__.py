"""ISMRM raw data (MRD): `scan` opens a file, `grid` fills its k-space."""
