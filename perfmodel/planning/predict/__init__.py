"""What a load will look like on a node."""
