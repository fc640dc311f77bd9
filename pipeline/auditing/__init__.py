"""What `python -m pipeline.audit` looks for, and how it tells."""
