"""An index from one model to another: re-embedded beside the old one, or mapped."""
