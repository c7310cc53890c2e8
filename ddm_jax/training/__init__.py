"""Training: state, step, devices, optimiser, checkpoints, logs."""
