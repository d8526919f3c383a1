"""From a few labels and a trained embedding network to a classifier."""
