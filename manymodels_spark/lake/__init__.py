"""The tables of a spec in the lake: names, idempotent writes, queries that several stages share, sources."""
