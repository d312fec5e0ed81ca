"""The base class of panels, the parts that they show, and the built-in ones."""
