"""These tests need torch, which the test dependencies leave out: without it they are not collected."""

from importlib.util import find_spec

collect_ignore_glob = ["*.py"] if find_spec("torch") is None else []
