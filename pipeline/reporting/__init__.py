"""What a report on a change is made of; `pipeline.report` is its command."""
