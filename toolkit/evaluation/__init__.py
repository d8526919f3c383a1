"""How well an embedding finds the same thing again."""
