"""Maintain: small files put together, old versions and old models removed."""
