"""Convolutions and their gradients, one file a backend; `convolution` chooses."""
