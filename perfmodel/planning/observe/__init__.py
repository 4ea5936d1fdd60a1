"""What a recording says: of its traffic, and of the node that served it."""
