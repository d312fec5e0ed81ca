"""Tracking the dimensions of the inputs through a forward."""
