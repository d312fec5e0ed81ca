"""Pictures and networks whose truth is known, and what methods and metrics make of them."""
