"""Metrics: one file each, with its equation; from plain arrays to a number per clip, or to parts to sum over clips."""
