"""The service: answers queries over HTTP with what stage `export` wrote. Imports leaves only, and no torch: it starts fast and stays small.

settings -> classifier -> pool -> predictions, open_inference (routes) -> gate, metrics (around them) -> app
"""
