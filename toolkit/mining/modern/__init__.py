"""The default recipe: every moving thing followed by its points, in its own box."""
