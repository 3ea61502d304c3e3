"""Pictures and pages of what happened. Nothing here changes a table."""
