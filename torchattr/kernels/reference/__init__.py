"""The reference backend, in plain PyTorch."""
