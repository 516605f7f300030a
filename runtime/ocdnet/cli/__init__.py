"""The ocdnet command line."""
