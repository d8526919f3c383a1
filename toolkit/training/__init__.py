"""Siamese-triplet training: a recipe, its data, the loop and the run it leaves behind."""
