"""Answers queries with the exported graph: imports leaves only, and neither torch nor transformers, so that it starts at once."""
