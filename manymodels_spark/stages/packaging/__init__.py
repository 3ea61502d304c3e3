"""A logged model's files: requirements, signature, input example, payload."""
