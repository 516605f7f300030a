"""Spec trees of any schema: YAML in and out, overrides, normalising, errors that name a key."""
