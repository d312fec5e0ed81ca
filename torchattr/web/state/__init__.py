"""What the viewer stores for its visitors, and the worker that runs the model for them."""
