"""Other tools' label formats: a reader for each family, and what they are recognised by."""
