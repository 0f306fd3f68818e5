"""Programs that make the figures of the README, each with its goal: ``python -m bench``."""
