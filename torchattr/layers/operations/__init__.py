"""Which calls are operations, and how a call of each spelling is parsed."""
