"""`ocdnet automl`: a search over the train schema, each trial a training of its own."""
