"""The embedding networks: a backbone by name between preprocessing and L2 normalisation."""
