"""Public models of six libraries, imported as they are, and held against counts on the modules themselves."""
