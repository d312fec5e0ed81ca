"""The vocabulary that all other packages share: inputs, outputs, targets, selections, undoing."""
