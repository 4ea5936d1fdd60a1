"""Recordings as the world writes them: one reader, which finds the format and says what it took."""
