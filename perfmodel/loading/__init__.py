"""Files -> domain types: the only place that parses files."""
