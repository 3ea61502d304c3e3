"""The champions that an endpoint serves: found in a source, opened, kept in memory and on disk."""
