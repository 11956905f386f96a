"""The command line. JAX is imported by the commands that need it, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="Asynchronous policy gradients: train once, replay under thousands of worker-speed profiles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; a mistake of the user is one sentence and exit status 2."""
    try:
        app()
    except ValueError as error:
        from jaxnigt.checks import InputError

        if not isinstance(error, InputError):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


def _version(asked: bool) -> bool:
    if asked:
        from jaxnigt import __version__

        typer.echo(__version__)
        raise typer.Exit
    return asked


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def sweep(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Definitions, TOML files, one after another."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for results, results/NAME if not given; of several files, OUT/NAME.",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Compute everything again, or reuse what is there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with its time and memory, and stop.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(help="Apply the table \\[size.NAME] of the definition.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key, as problem.backend=spring; repeat for more."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="What one unit may take, as 4GiB; by default a share of what there is."),
    ] = None,
    snapshot_every: Annotated[
        float, typer.Option(min=0.0, help="Seconds between snapshots of a training.")
    ] = 120.0,
    executor: Annotated[str, typer.Option(help="local or ray.")] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; one is started here if not given.")
    ] = None,
    unit_cpus: Annotated[float, typer.Option(min=0.0, help="Cores of Ray for a unit.")] = 1.0,
    unit_gpus: Annotated[float, typer.Option(min=0.0, help="Accelerators of Ray for a unit.")] = 0.0,
    show_template: Annotated[
        bool, typer.Option("--template", help="Print every key that a definition may have, and stop.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write scalars for TensorBoard to OUT/tensorboard.")
    ] = False,
) -> None:
    """Train, replay and draw what definitions ask for."""
    import jax

    from jaxnigt.checks import InputError
    from jaxnigt.figures import draw
    from jaxnigt.sweep import cost, screen
    from jaxnigt.sweep.definition import merged, modules, parse
    from jaxnigt.sweep.execute import STOPPED, Options, execute
    from jaxnigt.sweep.template import template
    from jaxnigt.sweep.work import Cluster

    if show_template:
        typer.echo(template())
        return
    tables = [merged(file, size=size, changes=changes or ()) for file in files or ()]
    if not tables:
        raise InputError("FILE: got none, at least one definition is needed.")
    # Before any module runs, as it may start JAX.
    cost.use_all_cores(lapack=any(map(modules, tables)))
    definitions = [parse(table, str(file)) for table, file in zip(tables, files or (), strict=True)]
    folders = _folders([definition.name for definition in definitions], out, size)
    console = _console()
    budget = None if memory is None else cost.parse(memory)
    if dry_run:
        for definition, folder in zip(definitions, folders, strict=True):
            screen.show_plan(definition, folder, console, budget, fresh)
        return
    options = Options(
        fresh=fresh,
        memory=budget,
        snapshot_every=snapshot_every,
        executor=executor,
        cluster=Cluster(ray_address, unit_cpus, unit_gpus),
        tensorboard=tensorboard,
        draw=draw,
    )
    status = 0
    for definition, folder in zip(definitions, folders, strict=True):
        if len(definitions) > 1:
            console.rule(definition.name)
            jax.clear_caches()  # a process may map so many pieces of memory and no more
        try:
            status = max(status, execute(definition, folder, console, options))
        except KeyboardInterrupt:
            console.print(
                f"stopped at once; finished units and snapshots are in {folder}, the same command goes "
                "on from there",
                soft_wrap=True,
            )
            status = STOPPED
        if status == STOPPED:
            break
    raise typer.Exit(status)


def _folders(names: list[str], out: Path | None, size: str | None) -> list[Path]:
    """Where each definition's results go."""
    from jaxnigt.checks import InputError, as_path
    from jaxnigt.sweep.store import usual_folder

    if len(set(names)) < len(names):
        raise InputError(f"FILE: got the names {', '.join(names)}, different names are allowed.")
    if out is not None and len(names) == 1:
        return [as_path("out", out)]
    above = as_path("out", out or "results")
    return [as_path("out", usual_folder(name, size, above)) for name in names]


def _console() -> Console:
    """A console; away from a terminal rich assumes 80 columns, too few for the tables."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 120)


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="A folder that `jaxnigt sweep` writes to.")],
) -> None:
    """Say which units of a sweep are done, how far the others are, and what failed."""
    from jaxnigt.checks import as_path
    from jaxnigt.sweep.screen import show_status

    show_status(as_path("folder", folder), _console())


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="A folder written by `jaxnigt sweep`.")],
) -> None:
    """Draw the figure of a sweep again from its data set."""
    from jaxnigt.checks import as_path
    from jaxnigt.figures import draw
    from jaxnigt.sweep import load

    folder = as_path("folder", folder)
    for path in draw(load(folder), folder):
        typer.echo(f"wrote {path}")


@app.command()
def bounds(
    profile: Annotated[
        str, typer.Option(help="family:key=value,..., as power_law:n=10,p=0.5, or a CSV file.")
    ],
    epsilon: Annotated[list[float], typer.Option(help="Accuracy on E||grad J||; repeat for more.")],
    l_g: Annotated[float, typer.Option(help="Lipschitz constant of the gradient.")] = 1.0,
    l_h: Annotated[float, typer.Option(help="Lipschitz constant of the Hessian.")] = 1.0,
    sigma: Annotated[float, typer.Option(help="Standard deviation of a stochastic gradient.")] = 1.0,
    delta: Annotated[float, typer.Option(help="J* - J(theta_0).")] = 1.0,
    kappa: Annotated[
        float | None,
        typer.Option(help="Seconds of a communication, the profile's slowest link if not given."),
    ] = None,
    form: Annotated[str, typer.Option(help="order (constants 1) or certified (valid ones).")] = "order",
) -> None:
    """Print what theory says of every method's time for a profile, and what no method can beat."""
    from jaxnigt.bounds.tables import show
    from jaxnigt.constants import Constants
    from jaxnigt.profiles.families import parse

    show(parse(profile), Constants(l_g, l_h, sigma, delta), epsilon, kappa, form, _console())


@app.command()
def doctor() -> None:
    """Say what hardware, versions and precision are in use."""
    for name, value in facts().items():
        _console().print(f"{name:<24}{value}", highlight=False, soft_wrap=True)


def facts() -> dict[str, str]:
    """One line a fact, measured by computing something where that is possible."""
    import os
    import platform
    from importlib import metadata

    import jax
    import jax.numpy as jnp

    from jaxnigt import __version__, clock
    from jaxnigt.profiles import equal
    from jaxnigt.sweep import cost
    from jaxnigt.sweep.fingerprint import PACKAGES

    cost.use_compilation_cache()
    return {
        "jaxnigt": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in (*PACKAGES, "xarray")},
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
        "memory budget": f"{cost.shown(cost.default_budget())} for a unit of a sweep",
        "compilation cache": str(jax.config.jax_compilation_cache_dir),  # pyright: ignore
        "devices": ", ".join(f"{d.platform}:{d.id} ({d.device_kind})" for d in jax.devices()),
        "clock precision": str(clock.synchronous(equal(2), 1).end.dtype),
        "rollout precision": str(jnp.zeros(1).dtype),
    }
