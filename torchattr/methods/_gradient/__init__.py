"""Shared by the gradient methods: one forward, any number of backward passes."""
