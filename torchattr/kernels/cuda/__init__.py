"""The CUDA backend, compiled at run time by NVRTC."""
