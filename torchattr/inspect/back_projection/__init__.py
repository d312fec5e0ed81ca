"""Feature maps projected back to the input."""
