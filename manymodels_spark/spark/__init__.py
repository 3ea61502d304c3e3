"""Spark itself: sessions, jars, storage, names and the functions that run grouped maps. Knows no stage."""
