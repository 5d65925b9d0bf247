"""How the demo checkpoint is made: scenes and caches of features; `training/` never imports it."""
