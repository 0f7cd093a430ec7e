"""Metrics: one small file each, with its equation; plain arrays in, one number per clip or a sum's statistic out."""
