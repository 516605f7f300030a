"""What of ocdnet works on this machine, and the command that fixes what does not."""
