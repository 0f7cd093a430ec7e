"""Post-training of world models from the command line: `python -m worldgym.train`."""
