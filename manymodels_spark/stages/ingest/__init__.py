"""Ingest: what is new at the source, into the lake."""
