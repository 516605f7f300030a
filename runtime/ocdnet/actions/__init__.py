"""One file an action: run(spec) -> result."""
