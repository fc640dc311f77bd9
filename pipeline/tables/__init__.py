"""What the generated blocks of the documents are made of; `python -m pipeline.tables` is their command."""
