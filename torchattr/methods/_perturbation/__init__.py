"""Shared by the perturbation methods: features, masks, and the scores of perturbed copies."""
