"""Data: one table of sources, decoded once to uint8, gathered into step-indexed batches."""
