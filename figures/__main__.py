"""`python -m figures [NAME ...]`: draw figures and tables from results."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Annotated

import typer

import figures
from figures.common import SIZES, Drawn, MissingResultsError, Results
from jaxnigt.checks import InputError
from jaxnigt.figures import drawing, save

_NO_FIGURE = {"common", "__main__"}


def names() -> list[str]:
    """All figures, each of them a module of this folder."""
    return sorted(
        module.name for module in pkgutil.iter_modules(figures.__path__) if _drawn(module.name)
    )


def _drawn(name: str) -> bool:
    return name not in _NO_FIGURE


def draw(name: str, results: Results, out: Path) -> list[Path]:
    """Draw one figure.

    Args:
        name: of its module.
        results: what it reads.
        out: folder for NAME.png, NAME.pdf, NAME.md (its caption) and whatever else it makes.

    Returns:
        Paths of the files.

    Raises:
        MissingResultsError: results are not there.
    """
    with drawing():
        drawn: Drawn = importlib.import_module(f"figures.{name}").draw(results)
        out.mkdir(parents=True, exist_ok=True)
        paths = save(drawn.figure, out / name) if drawn.figure is not None else []
    for suffix, text in {"md": drawn.caption + "\n", **drawn.texts}.items():
        path = out / f"{name}.{suffix}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def main(
    chosen: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="All by default.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder with NAME-SIZE of each sweep.")] = Path(
        "results"
    ),
    size: Annotated[str, typer.Option(help=" or ".join(SIZES))] = "small",
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, RESULTS/figures-SIZE if not given.")
    ] = None,
) -> None:
    """Draw figures and tables from results of sweeps; nothing is trained."""
    known = names()
    for name in chosen or known:
        if name not in known:
            raise InputError(f"figure: got {name!r}, allowed are {', '.join(known)}.")
    if size not in SIZES:
        raise InputError(f"size: got {size!r}, allowed are {', '.join(SIZES)}.")
    folder = results / f"figures-{size}" if out is None else out
    missing = 0
    for name in chosen or known:
        try:
            for path in draw(name, Results(results, size), folder):
                typer.echo(f"wrote {path}")
        except MissingResultsError as reason:
            typer.echo(f"{name}: {reason}", err=True)
            missing += 1
    raise typer.Exit(1 if missing else 0)


if __name__ == "__main__":
    try:
        typer.run(main)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
