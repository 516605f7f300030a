"""Keys that an action passes over, though it reads their like in its own section."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ocdnet.tree import keys, nodes
from ocdnet.tree.nodes import MISSING, Node


def unread(tree: Mapping[str, Any], section: str, reads: Collection[str], root: Node) -> list[str]:
    """One sentence on the keys that were likely meant for the action's own section.

    Args:
        tree: what is given.
        section: the action's own.
        reads: every section that it reads.
        root: schema of the experiment.

    Returns:
        Nothing where each of them holds its default, or stands in the action's section, too. Texts
        do not count: paths differ by section in every spec of several actions.
    """
    meant = {}
    for key, node in nodes.leaves(root):
        place, _, rest = key.partition(".")
        own = f"{section}.{rest}"
        is_text = nodes.core(node).get("type") == "string"
        if place in reads or is_text or nodes.find(root, own) is None or keys.has(tree, own):
            continue
        if keys.get(tree, key) not in (node["default"], None, MISSING):
            meant[key] = own
    if not meant:
        return []
    passed, missed = (", ".join(map(repr, names)) for names in (meant, meant.values()))
    return [f"{passed} is not read here: {missed} would be, and is not given"]
