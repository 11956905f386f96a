"""What people write by mistake, and others on purpose: values, texts, bytes, and changes of a tree."""

import copy
import datetime
import json
import math

from hypothesis import strategies as st

from jaxnigt import registry

INTEGERS = (-(10**18), -1, 0, 1, 2, 3, 7, 10**5, 2**31 - 1, 2**31, 2**32, 2**63, 10**18, 10**30, 10**400)
FLOATS = (-0.0, -1.5, 0.0, 0.5, 1.0, 1.5, 5e-324, 1e-45, 1e-300, 1e-8, 3.5e38, 1e300, 1.7e308)
FLOATS += (math.inf, -math.inf, math.nan)
WORDS = (
    *("", " ", "x", ".", "..", "/", "~", "a/b", "../x", "a\nb", "a\tb", "\0", "\x7f", "x" * 300),
    *(
        "für",
        "ﬁ",
        "日本",
        "🚀",
        "\u202e",
        "e\u0301",
        "[bold]x[/bold]",
        "[/]",
        "%s",
        "{0}",
        "$HOME",
        "-1",
    ),
    *(
        "inf",
        "nan",
        "1e3",
        "true",
        "None",
        "grid.",
        "con",
        "[",
        "]]",
        "'",
        '"',
        "#",
        "=",
        "*",
        "0",
        "--",
    ),
    *("times.csv", "good.toml", "out", "/dev/null", "nothing.csv", "mine.py", "--help"),
    *(name for kind in registry.KEYS for name in registry.entries(kind)),
)
"""Words of every alphabet, paths, markup, and all names that are registered."""

TIMES = (datetime.date(2000, 1, 1), datetime.time(1, 2), datetime.datetime(2000, 1, 1, 1, 2))

numbers = st.sampled_from(INTEGERS) | st.sampled_from(FLOATS) | st.floats() | st.integers()
words = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=8)
scalars = numbers | words | st.booleans() | st.sampled_from(TIMES)
small = st.integers(0, 4) | st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0])


@st.composite
def ranges(draw):
    """A range of a definition, right or wrong."""
    keys = st.sampled_from(["start", "stop", "num", "spacing", "step"])
    table = {"start": draw(small | numbers), "stop": draw(small | numbers), "num": draw(small | numbers)}
    return table | draw(st.dictionaries(keys, scalars | st.just("log"), max_size=1))


class Raw(str):
    """What stands in a file as it is, because Python's own recursion ends before it."""


def _deep(depth, inner):
    opened, closed = inner
    return Raw(opened * depth + "1" + closed * depth)


nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
values = scalars | nested | ranges() | st.lists(small, max_size=4) | st.lists(numbers, max_size=3)
values |= st.builds(
    _deep, st.sampled_from([3, 60, 400, 3000]), st.sampled_from([("[", "]"), ("{a=", "}")])
)
values |= st.sampled_from([Raw("9" * 5000), Raw("0x" + "f" * 5000), Raw("1e999"), Raw("1979-13-01")])
values |= st.integers(1000, 3000).map(lambda n: Raw(list(range(n))))


def toml(value):
    """A value as TOML writes it, tables within their line."""
    if isinstance(value, Raw | bool):
        return str(value) if isinstance(value, Raw) else str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**100 else "1" + "0" * 400
    return value.isoformat() if isinstance(value, tuple(map(type, TIMES))) else repr(value)


def document(table):
    """A file of a table."""
    return "".join(f"{toml(key)} = {toml(value)}\n" for key, value in table.items())


def places(tree):
    """Every list or table in a tree with every key that it has, the tree's own first."""
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    found = [(tree, key) for key, _ in items]
    for _, inner in items:
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


@st.composite
def mutated(draw, trees, keys, most=3):
    """A tree with one to `most` changes; `keys` are names that keys may get."""
    tree = copy.deepcopy(draw(trees))
    for _ in range(draw(st.integers(1, most))):
        there = places(tree)
        if not there:
            break
        holder, key = draw(st.sampled_from(there))
        match draw(
            st.sampled_from(["value", "value", "number", "delete", "name", "twice", "wrap", "swap"])
        ):
            case "value":
                holder[key] = draw(values)
            case "number":
                holder[key] = draw(numbers | small)
            case "delete":
                del holder[key]
            case "name" if isinstance(holder, dict):
                holder[draw(st.sampled_from(keys) | words)] = draw(st.just(holder[key]) | values)
            case "twice" if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case "wrap":
                holder[key] = draw(st.sampled_from([[holder[key]], {"x": holder[key]}]))
            case "swap":
                other, its_key = draw(st.sampled_from(there))
                holder[key] = copy.deepcopy(other[its_key])
    return tree


CHUNKS = (b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b'"', b"'", b",", b";", b"\t", b"#", b"=")
CHUNKS += (b"[", b"{", b"-1", b"nan", b"inf", b"1e400", b"1e-400", b"1_0", b"0x1", "٣".encode(), b"1,5")
CHUNKS += (b" ", b"compute", b"profile", b"[ms]", "é".encode("latin-1"), b"\n\n", b"\x1a", b"\x7f")


@st.composite
def damaged(draw, contents, most=3):
    """Bytes that were cut short, changed, moved, put in, or written in another encoding."""
    content = draw(contents)
    for _ in range(draw(st.integers(1, most))):
        at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 8))
        match draw(st.sampled_from(["put", "replace", "cut", "twice", "encode", "flip"])):
            case "put":
                content = content[:at] + draw(st.sampled_from(CHUNKS)) + content[at:]
            case "replace":
                content = content[:at] + draw(st.sampled_from(CHUNKS)) + content[at + length :]
            case "cut":
                content = draw(st.sampled_from([content[:at], content[at:]]))
            case "twice":
                content = content[:at] + content[at : at + 40] * 2 + content[at + 40 :]
            case "encode":
                words = content.decode("utf-8", "replace")
                content = words.encode(
                    draw(st.sampled_from(["utf-16", "utf-8-sig", "latin-1"])), "replace"
                )
            case "flip" if at < len(content):
                content = (
                    content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
                )
    return content
