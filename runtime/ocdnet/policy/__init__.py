"""From a plain request to a route and a complete spec, by generated artifacts alone."""
