"""Images and labels in, batches out."""
