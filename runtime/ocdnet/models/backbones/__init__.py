"""Backbones, one file a family."""
