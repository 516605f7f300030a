"""Rendered scenes of text with labels, to train on (needs Pillow and matplotlib: extra `data`)."""
