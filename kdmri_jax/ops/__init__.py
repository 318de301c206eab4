"""Convolutions and their gradients, one file per backend; `convolution` chooses."""
