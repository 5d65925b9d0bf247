"""Input, output and command line of the scripts; knows nothing of the network."""
