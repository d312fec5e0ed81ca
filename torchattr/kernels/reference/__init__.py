"""The backend that always works, in plain PyTorch."""
