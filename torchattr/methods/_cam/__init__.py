"""What the class activation maps share: principal components, forms of maps, fused layers."""
