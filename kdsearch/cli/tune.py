"""The command that searches."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kdsearch.cli.options import DATA_DIR, RESULTS, ClusterFile, DataDir, Results, interruptible, name_of
from kdsearch.errors import Refusal


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
    address: Annotated[
        str | None,
        typer.Option(metavar="auto|HOST:PORT", help="Of the Ray that trials run on.  [default: RAY_ADDRESS, or none]"),
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
    max_params: Annotated[int | None, typer.Option(min=1, help="Of a deployed student.")] = None,
    max_macs: Annotated[int | None, typer.Option(min=1, help="Multiply-accumulates of a student, one image.")] = None,
    min_compression: Annotated[float | None, typer.Option(help="Teacher's parameters / the student's.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A constant of all pipelines, e.g. student.fit.batch_size=64."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search --name, up to --trials.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show three drawn pipelines; train nothing.")] = False,
    cluster: ClusterFile = None,
) -> None:
    """Search: draw pipelines from SPACE, train them, keep the accuracy-against-compression front."""
    if cluster is not None:
        from kdsearch.cli import options as cli_options
        from kdsearch.cluster import remote as cluster_remote

        raise typer.Exit(cluster_remote.tune(cluster, cli_options.asked(context), space, name))
    from kdsearch.cli import tables as cli_tables
    from kdsearch.cli.live import Watch

    given = {word for word in context.params if _source(context, word) == "COMMANDLINE"}
    asked, storage, folder, facts = _asked(context, given)
    asked["storage_named"] = _source(context, "results") != "DEFAULT"
    console, search = cli_tables.console(), None
    # Outermost, so that the live display has ended when it speaks.
    with interruptible(lambda: _left(search)), Watch(console) as watch:
        from kdsearch.search.plan import look

        search = _search(asked, storage, folder, facts)
        search.show, search.progress, search.tell = watch.show, watch.read, console.print
        drawn = look(search)[0][:3] if dry_run else []
        if not dry_run:
            from kdsearch.search.run import run

            run(search)
    if dry_run:
        _show_draws(search, drawn, console)
        return
    _show_end(folder, asked["results"], console)
    if not any(row["state"] == "complete" for row in search.tables.trials.values()):
        raise typer.Exit(1)


def _source(context: typer.Context, name: str) -> str:
    """Where an option comes from, by name: newer typers have an enum of their own, which is not click's."""
    found = context.get_parameter_source(name)
    return found.name if found else "DEFAULT"


def _asked(context: typer.Context, given: set[str]) -> tuple[dict[str, Any], Any, Path, Any]:
    """All options, the storage, the search's folder, what is known of it where it goes on. Raises Refusal."""
    told = dict(context.params)
    from kdsearch.cluster.session import probe, resolve
    from kdsearch.results import searches as results_searches
    from kdsearch.results.facts import read_facts
    from kdsearch.results.folder import check_name, folder_for
    from kdsearch.search import resume as search_resume
    from kdsearch.search import spaces as search_spaces
    from kdsearch.storage.bucket import at

    path = search_spaces.find(told["space"])
    probe(resolve(told["address"]))
    told["space"] = path.stem if path.parent == search_spaces.own_folder() else str(path)
    if told["data"] is not None:
        from kdsearch.data.sources import placed

        told["data"] = placed(told["data"])
    storage = at(told["results"])
    if not told["resume"]:
        return (
            told,
            storage,
            folder_for(storage.folder, path.stem, told["name"], results_searches.names_taken(storage)),
            None,
        )
    name = results_searches.only(path.stem, storage) if told["name"] is None else told["name"]
    check_name(name)
    folder = results_searches.resumed(name, storage)
    told = search_resume.options(folder, told, given)
    _check_types(context, told, folder)
    facts = read_facts(folder)
    search_resume.check_source(facts, search_spaces.source(path), path)
    return told, storage, folder, facts


def _check_types(context: typer.Context, told: dict[str, Any], folder: Path) -> None:
    """Raises Refusal where search.json holds an option that the command line would not take."""
    options: list[Any] = list(context.command.params)
    for option in options:
        value = told.get(option.name or "")
        if value is None or value == context.params.get(option.name):
            continue
        try:
            taken = option.process_value(context, value)
        except (typer.BadParameter, TypeError, ValueError, OverflowError):
            taken = None
        if taken != value and not (isinstance(value, str) and taken == Path(value)):
            raise Refusal(
                f"'{folder / 'search.json'}' is damaged: {option.name} is {value!r} in its options, which the command "
                f"line would not take; bring the file back, or start a new search with another --name."
            )
        told[option.name or ""] = taken


def _search(asked: dict[str, Any], storage: Any, folder: Path, facts: Any) -> Any:
    from kdsearch.cli.options import numbers_of, pairs_of
    from kdsearch.search import spaces as search_spaces
    from kdsearch.search.settings import Limits, Settings
    from kdsearch.search.state import Search

    space, data = search_spaces.load(search_spaces.find(asked["space"])), asked["data"]
    budget = space.budget if data in (None, "digits") else space.full_budget
    sampler = asked["sampler"] or budget.sampler
    if asked["seeds"] > 1 and sampler != "grid":
        raise Refusal(
            f"--seeds trains each cell of a grid {asked['seeds']} times, but '{space.name}' is searched by {sampler}: "
            f"confirm its front afterwards (kdsearch confirm), or choose --sampler grid."
        )
    trials = asked["trials"] or (sys.maxsize if sampler == "grid" else budget.trials)
    if trials is None:
        raise Refusal(f"'{space.name}' is a grid and says no number of draws; --sampler {sampler} needs --trials.")
    settings = Settings(
        epochs=asked["epochs"] or budget.epochs, teacher_epochs=asked["teacher_epochs"] or budget.teacher_epochs,
        batch_size=budget.batch_size, epochs_given=asked["epochs"] is not None,
        teacher_epochs_given=asked["teacher_epochs"] is not None, data=data, image_size=asked["image_size"],
        seed=asked["seed"], overrides=pairs_of(asked["overrides"] or []),
    )  # fmt: skip
    return Search(
        space, settings, trials, folder,
        Path(asked["data_dir"]).resolve(), asked["cpus_per_trial"], asked["gpus_per_trial"], asked["max_concurrent"],
        asked["seeds"], asked["precision"], sampler,
        asked["rule"] or budget.rule or ("none" if sampler == "grid" else "union"),
        asked["reduction"], numbers_of(asked["milestones"] or ""),
        Limits(asked["max_params"], asked["max_macs"], asked["min_compression"]),
        command=facts.command if facts else shlex.join(["kdsearch", *sys.argv[1:]]),
        options={name: str(value) if isinstance(value, Path) else value for name, value in asked.items()},
        before=facts, storage=storage, address=asked["address"], storage_named=asked["storage_named"],
    )  # fmt: skip


def _left(search: Any) -> str:
    if search is None or not search.folder.exists():
        return "No trial had begun, so there are no results."
    return f"All that was trained is kept.\nGo on: {search.resume_command}"


def _show_draws(search: Any, drawn: list, console: Any) -> None:
    import yaml

    from kdsearch.distill.teacher import bytes_a_view
    from kdsearch.nets import survey
    from kdsearch.results.format import size

    shape, classes = search.images.shape, len(search.images.classes)
    for number, draw in enumerate(drawn):
        sizes = [f"{survey.survey(link.net, shape, classes).parameters:,}" for link in draw.pipeline.links]
        console.print(f"Draw {number}: {draw.knobs}", style="bold", soft_wrap=True)
        console.print(f"Parameters, from teacher to student: {' → '.join(sizes)}")
        plain = draw.pipeline.model_dump(mode="json", exclude_defaults=True)
        console.print(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None))
    views = drawn[0].pipeline.data.fixed_views
    if views:
        filled = size(views * bytes_a_view((draw.pipeline for draw in drawn), search.images))
        told = f"{filled} of targets for these draws (at most {size(search.cache_limit)}: KDSEARCH_CACHE_LIMIT)"
        console.print(f"Views of each image: {views}; {told}", soft_wrap=True)
    seeds = f"{search.seeds} seeds" if search.seeds > 1 else "one seed"
    work = f"{search.trials} cells × {seeds}" if search.sampler == "grid" else f"{search.trials} trials"
    references = search.total - search.trials * search.seeds
    also = f" and {references} references" if references else ""
    console.print(f"Dry run: nothing was trained. The search would run {work}{also}.")


def _show_end(folder: Path, storage: str, console: Any) -> None:
    from kdsearch.cli import tables as cli_tables
    from kdsearch.results import tables as results_tables
    from kdsearch.results.facts import read_facts

    cli_tables.summary(results_tables.read(folder), read_facts(folder), console)
    written = f"Written: {folder}/: trials.parquet, epochs.parquet, verdicts.parquet, search.json, students/"
    console.print(written, soft_wrap=True)
    name = name_of(folder, storage)
    console.print(f"Next:    kdsearch report {name}    kdsearch export {name} --front", soft_wrap=True)
