"""The greatest rate within an SLA: traffic drawn once, what is late of it, the search, the interval."""
