"""Looks up one contact: PostgreSQL first, then the providers, in order of cost."""
