"""The name under which users of the original import its losses; `training/losses.py` holds them."""
