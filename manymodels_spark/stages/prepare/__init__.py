"""Prepare: one clean set of rows per partition, on the grid of its frequency."""
