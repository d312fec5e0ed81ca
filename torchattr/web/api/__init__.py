"""The HTTP routes of the viewer."""
