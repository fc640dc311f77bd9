"""What a comparison of new queries with those before is made of; `pipeline.drift` is its command."""
