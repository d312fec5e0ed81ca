"""The compiled CPU backend and its C++ sources."""
