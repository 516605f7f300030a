"""Generates schemas and templates from the config dataclasses."""
