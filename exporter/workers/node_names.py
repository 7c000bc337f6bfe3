"""Names for the operators of an ONNX graph that derive from the program that it was made from.

paddle2onnx numbers the operators that it adds (`Clip.8`), so that a change at the beginning of a network renames all
behind it. A viewer such as Netron shows the names, and overlays for Model Explorer are keyed by them.
"""

from __future__ import annotations

import re

_NUMBERED = re.compile(r"^[A-Z][A-Za-z0-9]*[._]\d+(_\d+)?$")


def give(graph, variables, scopes) -> None:
    """Names every operator without a name, with a number, or with another one's name.

    An operator that computes a variable of the program gets the variable's name; another one that of the nearest
    variable before it, and its type: `batch_norm_3.tmp_2.Clip`. The names are unique. Others stay, because they name
    variables already, and ranges and layers are found by them.

    Args:
        variables: Names of the program's variables; without any, nothing is changed.
        scopes: Variable -> path of its layer in the network's source, where the program records it. The operator gets
            it as the metadata `namespace`, from which Model Explorer makes nested groups.
    """
    known = set(variables)
    if not known:
        return
    constants = {value.name for value in graph.initializer}
    nearest = {value.name: value.name for value in graph.input}
    taken: set[str] = set()
    kept = [bool(node.name) and not _NUMBERED.match(node.name) for node in graph.node]
    for index, node in enumerate(graph.node):
        if kept[index] and node.name in taken:
            kept[index] = False
        elif kept[index]:
            taken.add(node.name)
    for node, stays in zip(graph.node, kept, strict=True):
        before = next((nearest[name] for name in node.input if name in nearest), "")
        own = next((name for name in node.output if name in known and name not in constants), "")
        for name in node.output:
            nearest[name] = own or before
        if not stays:
            node.name = _free(own or ".".join(filter(None, (before, node.op_type))), taken)
        if scope := scopes.get(own or before):
            entry = node.metadata_props.add()
            entry.key, entry.value = "namespace", scope


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number if another operator has it; adds it to `taken`."""
    name = name.replace("/", "_")  # Model Explorer would take it for a group
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}.{number}"
    taken.add(found)
    return found
