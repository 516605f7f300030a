"""What `make bench` measures, a module a part of the skill: each gives rows of the table."""
