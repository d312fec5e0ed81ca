"""The rules and fused pairs of the package; importing a module registers its own."""
