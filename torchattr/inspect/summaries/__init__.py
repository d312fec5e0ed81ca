"""Model summaries: parameters, costs, and the memory that an attribution needs."""
