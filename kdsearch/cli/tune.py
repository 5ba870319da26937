"""The command that searches."""

import shlex
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

import kdsearch
from kdsearch.cli.options import DATA_DIR, RESULTS, ClusterFile, DataDir, Results, interruptible, name_of
from kdsearch.config.datasets import KNOWN
from kdsearch.errors import listed


def tune(
    context: typer.Context,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A name from `kdsearch spaces`, or a Python file.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help=f"{listed(KNOWN)}, a folder, a .csv or .parquet, my_data.py:NAME."),
    ] = None,
    data_dir: DataDir = DATA_DIR,
    image_size: Annotated[int | None, typer.Option(min=8, max=1024, help="Side to which images are brought.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Pipelines to draw; references come on top.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of a student, in all; caps the teacher's too.")] = None,
    teacher_epochs: Annotated[int | None, typer.Option(min=1, help="Of the teacher and of each assistant.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of the draws and of the students.")] = 0,
    name: Annotated[str | None, typer.Option(help="Of the search's folder.  [default: the space's name]")] = None,
    results: Results = RESULTS,
    cpus_per_trial: Annotated[float, typer.Option(min=0.1, help="Cores (and threads) a trial.")] = 1,
    gpus_per_trial: Annotated[
        float | None, typer.Option(min=0, help="Share of a GPU a trial, e.g. 0.25.  [default: 1 where there is one]")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="auto|HOST:PORT", help="Of the Ray that trials run on.  [default: RAY_ADDRESS, or none]"),
    ] = None,
    memory: Annotated[
        float | None, typer.Option(metavar="GB", help="That images may fill, of all trials.  [default: a quarter]")
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at a time, at most.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="In which networks multiply; auto: bfloat16 where the processor or GPU does it natively."),
    ] = "auto",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Of each cell of a grid; the student's alone.")] = 1,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="tpe|random|grid", help="Who chooses the knobs; grid: all combinations.  [default: the space's]"
        ),
    ] = None,
    metric: Annotated[
        Literal["accuracy", "balanced"],
        typer.Option(help="What sampler, rule and front look at; balanced: each class counts alike."),
    ] = "accuracy",
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="union|moasha|strata|asha|none",
            help="Who goes on at a milestone: kdsearch replay.  [default: the space's: union, for a grid none]",
        ),
    ] = None,
    reduction: Annotated[float, typer.Option(help="A rule sends on the best 1/N of those judged.", metavar="N")] = 3,
    milestones: Annotated[
        str | None,
        typer.Option(metavar="1,3,9", help="KD epochs at which trials are judged.  [default: powers of N]"),
    ] = None,
    against: Annotated[
        Literal["parameters", "macs", "latency", "bytes"],
        typer.Option(help="What accuracy is set against in the front; latency: measured before training."),
    ] = "parameters",
    max_params: Annotated[int | None, typer.Option(min=1, help="Of a deployed student.")] = None,
    max_macs: Annotated[int | None, typer.Option(min=1, help="Multiply-accumulates of a student, one image.")] = None,
    max_bytes: Annotated[
        str | None, typer.Option(metavar="100kB", help="Of a deployed student's weights, in float32.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="200us", help="Of a student, one image on one thread (us, ms, s).")
    ] = None,
    min_compression: Annotated[float | None, typer.Option(help="Teacher's parameters / the student's.")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Your own: my_nets.py:teacher, package.module:function, timm:…, torchvision:…"
        ),
    ] = None,
    teacher_weights: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its weights: .safetensors, or .pt by weights_only.")
    ] = None,
    teacher_eye: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="How it sees, e.g. size=96, mean=0.5,0.5,0.5, order=bgr."),
    ] = None,
    teacher_train: Annotated[
        Literal["all", "head"] | None, typer.Option(help="What of it trains, where --teacher-epochs is given.")
    ] = None,
    teacher_anyway: Annotated[bool, typer.Option("--teacher-anyway", help="Take it even if it is refused.")] = False,
    student: Annotated[
        str | None, typer.Option(metavar="NAME", help="The family of your students: my_nets.py:student, timm:…")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A constant of all pipelines, e.g. student.fit.batch_size=64."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search --name, up to --trials.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show three drawn pipelines; train nothing.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """Search: draw pipelines from SPACE, train them, keep the front of accuracy against compression."""
    if cluster is not None:
        from kdsearch.cli import options
        from kdsearch.cluster import remote

        raise typer.Exit(remote.tune(cluster, options.asked(context), space, name))
    from kdsearch.results.show import console as plain_console

    told = {word: value for word, value in context.params.items() if _source(context, word) != "DEFAULT"}
    options = {word: told[word] for word in told if word not in ("space", "cluster")}
    with interruptible():
        found = kdsearch.tune(space, command=shlex.join(["kdsearch", *sys.argv[1:]]), **options)
    if isinstance(found, kdsearch.Search):
        _show_end(found, results, plain_console())
        if "complete" not in set(found.trials["state"]):
            raise typer.Exit(1)
    else:
        _show_draws(found, plain_console())


def _source(context: typer.Context, name: str) -> str:
    """Where an option comes from, by name: newer typers have an enum of their own, which is not click's."""
    found = context.get_parameter_source(name)
    return found.name if found else "DEFAULT"


def _show_draws(plan: Any, console: Any) -> None:
    import yaml

    from kdsearch.distill.teacher import bytes_a_view
    from kdsearch.nets import survey
    from kdsearch.results.format import size

    shape, classes = plan.images.shape, len(plan.images.classes)
    for number, draw in enumerate(plan.draws[:3]):
        sizes = [f"{survey.survey(link.net, shape, classes).parameters:,}" for link in draw.pipeline.links]
        console.print(f"Draw {number}: {draw.knobs}", style="bold", soft_wrap=True)
        console.print(f"Parameters, from teacher to student: {' → '.join(sizes)}")
        for line in _costs(plan, draw):
            console.print(line, soft_wrap=True)
        plain = draw.pipeline.model_dump(mode="json", exclude_defaults=True)
        console.print(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
    for line in tap_table(plan):
        console.print(line, soft_wrap=True, highlight=False)
    views = plan.data.fixed_views
    if views:
        filled = size(views * bytes_a_view((draw.pipeline for draw in plan.draws[:3]), plan.images))
        told = f"{filled} of targets for these draws (at most {size(plan.cache_limit)}: KDSEARCH_CACHE_LIMIT)"
        console.print(f"Views of each image: {views}; {told}", soft_wrap=True)
    seeds = f"{plan.asked.seeds} seeds" if plan.asked.seeds > 1 else "one seed"
    work = (
        f"{plan.trials} cells × {seeds}" if plan.sampler == "grid" else f"{plan.trials} trial{'s' * (plan.trials > 1)}"
    )
    references = plan.total - plan.trials * plan.asked.seeds
    also = f" and {references} references" if references else ""
    console.print(f"Dry run: nothing was trained. The search would run {work}{also}.")


def _costs(plan: Any, draw: Any) -> Iterator[str]:
    """What a draw costs by the objectives that are asked for, parameters aside; and whether it is beyond a limit."""
    from kdsearch.results.format import amount, times
    from kdsearch.results.objectives import OBJECTIVES

    costs, asked = plan.costs(draw.pipeline), plan.asked
    limited = {"latency": plan.measure, "bytes": asked.max_bytes, "macs": asked.max_macs}
    for own in OBJECTIVES.values():
        if own.name != "parameters" and (own.name == asked.against or limited[own.name]):
            label = own.label[0].upper() + own.label[1:]
            said = f"{label} of the student: {amount(own, costs.amount(own))} ({own.gain} {times(costs.ratio(own))})"
            yield said + (", beyond a limit: it would not be trained" * (own.measured and not plan.limits.met(costs)))


def tap_table(plan: Any) -> Iterator[str]:
    """The taps of users' own networks in the first draw, by the numbers that pairs have: `2 layer1 64×16×16`."""
    links = plan.draws[0].pipeline.links
    for role, link in (("teacher", links[0]), ("student", links[-1])):
        if link.net.kind == "own":
            shapes = plan.survey(link.net).maps
            taps = [
                f"{number} {name} {'×'.join(map(str, shape))}"
                for number, (name, shape) in enumerate(zip(link.net.taps, shapes, strict=True), start=1)
            ]
            _, height, width = plan.survey(link.net).image
            found = "   ".join(taps) or "none: it shows no map"
            yield f"Taps of the {role} ({link.net.called} at {width}×{height}): {found}"


def _show_end(search: "kdsearch.Search", storage: str, console: Any) -> None:
    from kdsearch.cli import tables as cli_tables
    from kdsearch.results import tables as results_tables

    folder = search.folder
    cli_tables.summary(results_tables.read(folder), search.facts, console)
    written = f"Written: {folder}/: trials.parquet, epochs.parquet, verdicts.parquet, search.json, students/"
    console.print(written, soft_wrap=True)
    name = name_of(folder, storage)
    console.print(f"Next:    kdsearch report {name}    kdsearch export {name} --front", soft_wrap=True)
