"""Monitor: former predictions against the actuals that came since."""
