"""What the tabs of the page compute: methods, panels and layers."""
