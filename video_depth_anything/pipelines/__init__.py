"""From inputs to outputs: options, runs, batches and several devices. May know the network and files."""
