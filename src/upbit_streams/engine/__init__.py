"""The tasks, and what they share."""
