"""What Python users call: a module a question, answers that show themselves and become JSON or a table."""
