"""Images that maximise an objective: activation maximisation and deepdream."""
