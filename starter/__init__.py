"""How the demo checkpoint is made: scenes, caches of features, the gate; `training/` knows nothing of it."""
