"""The classic formulations that ours are measured against, written from their descriptions.

None of them is ever imported by the skill. Each states where its description stands.
"""
