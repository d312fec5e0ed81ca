"""Every target of a GPU, measured within minutes by `python -m benchmarks.gpu`."""
