"""Which layers and operations ran in a forward, and what they returned."""
