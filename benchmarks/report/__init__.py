"""Results as JSON, Markdown, figures, and tables in the documentation; the targets."""
