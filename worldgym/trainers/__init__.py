"""Optimizers of world models: pure functions for the mathematics, one visible loop per file."""
