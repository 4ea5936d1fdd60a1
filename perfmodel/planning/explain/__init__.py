"""What binds a node, how far the cliff is, and what single changes would bring."""
