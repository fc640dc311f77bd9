"""Answers queries with the exported graph: imports leaves only, and neither torch nor transformers, so that it starts at once.

settings -> classifier -> pool -> predictions, open_inference (routes) -> gate, metrics (around them) -> app
"""
