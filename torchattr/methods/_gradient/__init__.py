"""What the gradient methods share: one forward, any number of backward passes."""
