"""A detector behind HTTP: `ocdnet serve`."""
