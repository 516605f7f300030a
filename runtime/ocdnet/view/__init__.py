"""`ocdnet view`: leaf through pictures with labels, predictions and map, in a browser."""
