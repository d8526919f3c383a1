"""The bookkeeping of mining: units of work, each done exactly once."""
