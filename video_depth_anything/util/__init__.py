"""A package that only holds names which users of the original import."""
