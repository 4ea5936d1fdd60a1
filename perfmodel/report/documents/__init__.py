"""The JSON documents of the commands: times in ms, null for what does not exist."""
