"""The physics of the scan: Fourier transform, sampling masks, data consistency."""
