"""The command line: words to options, and nothing that is decided."""
