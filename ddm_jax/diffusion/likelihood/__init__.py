"""Bits per dimension: the variational bound, and the density of the probability flow."""
