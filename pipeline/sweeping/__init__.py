"""What a search over knobs is made of; `pipeline.sweep` is its command."""
