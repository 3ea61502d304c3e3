"""Load: predictions and the tables around them, into the warehouse."""
