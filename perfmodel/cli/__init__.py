"""The command line: load, ask, show. The only place that prints, reads `sys.argv` or exits."""
