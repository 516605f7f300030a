"""INT8 for exported networks: calibration, and the Q/DQ form that every engine reads."""
