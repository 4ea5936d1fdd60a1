"""Hostile input: every key of every file and every option, with values that nobody should write."""
