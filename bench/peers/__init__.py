"""Other servers that keep push tokens, each in an environment of its own at a pinned version."""
