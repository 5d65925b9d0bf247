"""Export of the network to other runtimes."""
