"""Commands that measure or hold published figures; `perfmodel.cli.main` loads each by its name on use."""
