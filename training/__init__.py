"""Tools that make and train checkpoints; inference needs nothing from here."""
