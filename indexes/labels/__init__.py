"""A few labels in, thousands out: given by people, spread by likeness, taken back, written out."""
