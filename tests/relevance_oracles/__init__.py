"""Relevance written out slowly from the papers, in float64: what fast code is judged by.

Nothing in here imports the package, or runs the backward of a convolution.
"""
