"""What could be asked here: the tools' declared examples with names that exist at this site."""

from collections.abc import Mapping, Sequence

from aliquot.tools.contracts import Example, Relation, Tool


def suggested(
    tools: Sequence[Tool], values: Mapping[str, Sequence[str]], relations: Mapping[str, Sequence[Relation]], most: int
) -> tuple[str, ...]:
    """One sentence per tool for up to `most` tools: what reads first, and something that acts among them if anything may."""
    reading = [tool for tool in tools if tool.effect == "read"]
    acting = [tool for tool in tools if tool.effect != "read"]
    chosen = [*reading[: most - bool(acting)], *acting][:most]
    found = (_first(tool, values, relations.get(tool.name, ())) for tool in chosen)
    return tuple(sentence for sentence in found if sentence)


def _first(tool: Tool, values: Mapping[str, Sequence[str]], relations: Sequence[Relation]) -> str | None:
    return next((text for example in tool.examples if (text := _here(example, values, relations)) is not None), None)


def _here(example: Example, values: Mapping[str, Sequence[str]], relations: Sequence[Relation]) -> str | None:
    """The example's sentence with values that exist and go together; None when there are none."""
    text, used = example.text, dict[str, str]()
    for slot, value in example.arguments.items():
        if not isinstance(value, str) or value not in text or not any(character.isdigit() for character in value):
            continue
        known = [name for name in values.get(slot, ()) if any(character.isdigit() for character in name) and " " not in name]
        for relation in relations:
            if relation.argument == slot and relation.given in used:
                known = [name for name in known if name in relation.values.get(used[relation.given], ())]
        if not known:
            return None
        used[slot] = value if value in known else known[0]
        text = text.replace(value, used[slot])
    return text
