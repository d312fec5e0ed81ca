"""What the relevance methods share."""
