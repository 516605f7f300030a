"""Inference backends: float32[B, 3, H, W] in, float32[B, H, W] out."""
