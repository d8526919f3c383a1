"""Which index suits a budget, worked out before anything is built: arithmetic alone."""
