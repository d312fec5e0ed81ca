"""How the dimensions of the inputs are followed through a forward."""
