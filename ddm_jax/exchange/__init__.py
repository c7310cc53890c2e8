"""Weights of diffusers: what its files hold in the words of this package, and the other way."""
