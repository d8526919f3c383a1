"""From raw video to pairs of patches of the same moving thing."""
