"""DeepLIFT's rescale rule of each operation that is not linear."""
