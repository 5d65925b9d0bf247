"""From inputs to outputs: options, runs, batches and several devices."""
