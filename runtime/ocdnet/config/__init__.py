"""Experiment configuration: pydantic dataclasses, one file a section."""
