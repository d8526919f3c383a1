"""Does an export still retrieve what the network does? Measured, certified, and repeatable."""
