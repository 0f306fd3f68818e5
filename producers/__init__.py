"""WEBHOOK -> TOPIC: authenticates, normalises, keys and publishes what the outside sends."""
