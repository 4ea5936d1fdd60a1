"""HTML pages of answers, a module a kind of answer; all are made of the documents that `--json` prints."""
