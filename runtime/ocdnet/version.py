"""The one place that says the version; the package metadata reads it."""

VERSION = "0.2.0"
