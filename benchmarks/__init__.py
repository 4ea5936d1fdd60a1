"""What the speed of perfplan is held against; each module is a command that prints a table."""
