"""The command line: turns words into options."""
