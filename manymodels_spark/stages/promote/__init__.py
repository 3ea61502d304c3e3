"""Promote: models that pass the gates become champions in production; rollback; the index of champions."""
