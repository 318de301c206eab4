"""What the scanner does: Fourier transform, sampling masks, data consistency."""
