"""Panels: views registered by name, and what they can show."""
