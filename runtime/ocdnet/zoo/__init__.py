"""Public weights by name: what they are (`registry`), and where their files are (`fetching`)."""
