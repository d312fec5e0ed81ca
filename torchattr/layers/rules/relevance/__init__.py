"""Rules of relevance propagation, in the currency of gradients: `R = x · g` at every place."""
