"""The network as files that other runtimes read."""
