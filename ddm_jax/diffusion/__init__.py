"""The mathematics of diffusion: arrays in, arrays out. No Flax, no config, no files, no devices.

One number line: t in [0, 1] from the least noisy level to the noisiest, with
x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).
"""
