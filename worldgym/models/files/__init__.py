"""Model files: the own format, published files, and tensors out of pickles without running them."""
