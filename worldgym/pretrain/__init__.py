"""The pretrain room; see CONTRIBUTING.md for what it holds and may import."""
