"""The command that searches."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kdsearch.looking import RESULTS, Results
from kdsearch.remote import ClusterFile
from kdsearch.working import DATA_DIR, DataDir, interruptible, name_of


def tune(
    context: typer.Context,
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A name from `kdsearch spaces`, or a Python file.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="digits, mnist, fashion_mnist, svhn, cifar10, cifar100, or a folder."),
    ] = None,
    data_dir: DataDir = DATA_DIR,
    image_size: Annotated[int | None, typer.Option(min=8, help="Side to which images are brought.")] = None,
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
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at a time, at most.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="In which networks multiply; auto: bfloat16 where the processor or GPU does it natively."),
    ] = "auto",
    sampler: Annotated[
        str, typer.Option(metavar="tpe|random|grid", help="Who chooses the knobs; grid: all combinations.")
    ] = "tpe",
    rule: Annotated[
        str, typer.Option(metavar="union|moasha|strata|asha|none", help="Who goes on at a milestone: kdsearch replay.")
    ] = "union",
    reduction: Annotated[float, typer.Option(help="A rule sends on the best 1/N of those judged.", metavar="N")] = 3,
    milestones: Annotated[
        str | None,
        typer.Option(metavar="1,3,9", help="KD epochs at which trials are judged.  [default: powers of N]"),
    ] = None,
    max_params: Annotated[int | None, typer.Option(min=1, help="Of a deployed student.")] = None,
    max_macs: Annotated[int | None, typer.Option(min=1, help="Multiply-accumulates of a student, one image.")] = None,
    min_compression: Annotated[float | None, typer.Option(help="Teacher's parameters / the student's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A constant of all pipelines, e.g. student.fit.batch_size=64."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show three drawn pipelines; train nothing.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """Search: draw pipelines from SPACE, train them, keep the accuracy-against-compression front."""
    if cluster is not None:
        from kdsearch import remote

        raise typer.Exit(remote.tune(cluster, remote.asked(context), space, name))
    from kdsearch import spaces, words
    from kdsearch.display import Watch
    from kdsearch.limits import Limits
    from kdsearch.settings import Settings, folder_for, numbers_of, pairs_of

    found = spaces.load(spaces.find(space))
    pairs, folder = pairs_of(overrides or []), folder_for(results, found.name, name)
    if data is not None:
        from kdsearch.sources import placed

        data = placed(data)
    budget = found.budget if data in (None, "digits") else found.full_budget
    settings = Settings(
        epochs=epochs or budget.epochs, teacher_epochs=teacher_epochs or budget.teacher_epochs,
        batch_size=budget.batch_size,
        epochs_given=epochs is not None, teacher_epochs_given=teacher_epochs is not None,
        data=data, image_size=image_size, seed=seed, overrides=pairs,
    )  # fmt: skip
    console = words.console()
    with Watch(console) as watch:
        from kdsearch.plan import Search
        from kdsearch.scout import look

        search = Search(
            found, settings, trials or (sys.maxsize if sampler == "grid" else budget.trials), folder,
            data_dir.resolve(), cpus_per_trial, gpus_per_trial, max_concurrent, precision, sampler, rule, reduction,
            numbers_of(milestones or ""), Limits(max_params, max_macs, min_compression),
            command=shlex.join(["kdsearch", *sys.argv[1:]]), show=watch.show, progress=watch.read,
        )  # fmt: skip
        drawn = look(search)[0][:3] if dry_run else []
        if not dry_run:
            from kdsearch.search import run

            with interruptible(lambda: _left(folder)):
                run(search)
    if dry_run:
        _show_draws(search, drawn, console)
        return
    _show_end(folder, console)
    if not any(row["state"] == "complete" for row in search.tables.trials.values()):
        raise typer.Exit(1)


def _left(folder: Path) -> str:
    if not folder.exists():
        return "No trial had begun, so there are no results."
    return f"What is finished is in the tables: kdsearch status {shlex.quote(name_of(folder))}"


def _show_draws(search: Any, drawn: list, console: Any) -> None:
    import yaml

    from kdsearch import nets
    from kdsearch.targets import bytes_a_view
    from kdsearch.words import size

    shape, classes = search.images.shape, len(search.images.classes)
    for number, draw in enumerate(drawn):
        sizes = [f"{nets.survey(link.net, shape, classes).parameters:,}" for link in draw.pipeline.links]
        console.print(f"Draw {number}: {draw.knobs}", style="bold", soft_wrap=True)
        console.print(f"Parameters, from teacher to student: {' → '.join(sizes)}")
        plain = draw.pipeline.model_dump(mode="json", exclude_defaults=True)
        console.print(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
    views = drawn[0].pipeline.data.fixed_views
    if views:
        filled = size(views * bytes_a_view((draw.pipeline for draw in drawn), search.images))
        told = f"{filled} of targets for these draws (at most {size(search.cache_limit)}: KDSEARCH_CACHE_LIMIT)"
        console.print(f"Views of each image: {views}; {told}", soft_wrap=True)
    console.print(f"Dry run: nothing was trained. The search would run {search.trials} trials and 3 references.")


def _show_end(folder: Path, console: Any) -> None:
    from kdsearch import results, words

    words.summary(results.read(folder), results.read_facts(folder), console)
    written = f"Written: {folder}/: trials.parquet, epochs.parquet, verdicts.parquet, search.json, students/"
    console.print(written, soft_wrap=True)
    name = shlex.quote(name_of(folder))
    console.print(f"Next:    kdsearch report {name}    kdsearch export {name} --front", soft_wrap=True)
