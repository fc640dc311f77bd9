"""What bulk scoring is made of, and the streaming of rows that `pipeline.drift` shares; `pipeline.score` is its command."""
