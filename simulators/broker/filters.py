"""Topic filters (4.7)."""


def is_filter(text: str) -> bool:
    """`#` only as the last level, `+` only as a whole level."""
    levels = text.split("/")
    return bool(text) and all(
        (level in ("+", "#") or not ("+" in level or "#" in level))
        and (level != "#" or place == len(levels) - 1)
        for place, level in enumerate(levels)
    )


def matches(text: str, topic: str) -> bool:
    """Does this filter want this topic? Wildcards in front want no topic that begins with $."""
    if text == topic:
        return True
    if topic.startswith("$") and text[:1] in ("+", "#"):
        return False
    levels, said = text.split("/"), topic.split("/")
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place >= len(said) or level not in ("+", said[place]):
            return False
    return len(levels) == len(said)
