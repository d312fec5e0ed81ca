"""Check a result against the reference, then measure its time and memory."""
