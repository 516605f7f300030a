"""What a run leaves in its folder, for those who write it and those who read it."""
