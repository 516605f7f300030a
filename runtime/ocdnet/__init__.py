"""OCDNet: scene-text detection with differentiable binarization."""
