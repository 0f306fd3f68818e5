"""Looks one contact up: PostgreSQL first, then the providers, in order of cost."""
