"""What the running viewer holds: sessions, results, the worker and its queue."""
