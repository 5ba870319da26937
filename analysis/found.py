"""Searches that were kept as evidence: analysis/found/, each a folder that reports and charts read as any search's.

python -m kdsearch.analysis.found results/NAME --data cifar10 --commit c27cb3e   keeps one, with the commit that ran it
python -m kdsearch.analysis.found                                                prints what the pages say of all
"""

import argparse
import json
from pathlib import Path

from kdsearch.results import cells, costs, files, seeds
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import Facts, read_facts
from kdsearch.results.format import duration

FOUND = Path(__file__).parent / "found"
BASE = "labels"


def keep(folder: Path, data: str, commit: str, into: Path = FOUND) -> Path:
    """The tables and facts of a search that ended, under its name: `data` in the place of a folder of this machine,
    `commit` of the code that ran it; students, journal and checkpoints stay behind."""
    tables, facts = results_tables.read(folder), read_facts(folder)
    target = into / folder.name
    target.mkdir(parents=True, exist_ok=True)
    told = facts.model_dump(mode="json", exclude_unset=True) | {"data": data, "commit": commit}
    told["options"] = {**(facts.options or {}), "data": data}
    told["command"] = facts.command.replace(facts.data, data)
    told["account"] = (facts.account or "").replace(f"{Path(facts.data).name}:", f"{data}:", 1)
    (target / "search.json").write_text(json.dumps(told, indent=1) + "\n")
    rows = [row | {"pipeline": results_tables.placed(row["pipeline"], data)} for row in tables.trials.values()]
    for name, some in (("trials", rows), ("epochs", tables.epochs)):
        files.write_table(target / f"{name}.parquet", list(some), results_tables.TABLES[name])
    return target


def said(name: str, into: Path = FOUND) -> str:
    """What a page says of a kept grid: how it was made, a table of its cells, what can be told apart. Markdown."""
    tables, facts = results_tables.read(into / name), read_facts(into / name)
    images = facts.validation_images
    found = cells.ranked(cells.cells(tables, images))
    base = next((cell for cell in found if cell.name == BASE), None)
    lines = ["| method | accuracy | above labels | seeds |", "|---|---|---|---|"]
    for cell in found:
        gap = seeds.difference(cell.accuracies, base.accuracies, images) if base else None
        more = "–" if gap is None or cell is base else gap.points + (" **" if gap.beyond_noise else "")
        mean = cell.mean.points if cell.mean else "–"
        lines.append(f"| {cell.name} | {mean} | {more} | {len(cell.accuracies)} |")
    spent = costs.spent(tables, facts)
    hours = duration(sum(own["seconds"] for own in spent.values()))
    faint = sorted({f"{term} of trial {trial}" for trial, _, term in results_tables.faint(tables.epochs)})
    return "\n".join(
        [
            f"`{facts.command}` (commit {getattr(facts, 'commit', '–')}, {_versions(facts)}; {hours} of training): "
            f"{facts.images:,} training and {images:,} validation images, the teacher at "
            f"{100 * (facts.teacher_accuracy or 0):.1f} %. Accuracy is of the validation images in percent, ± 95 % "
            f"over seeds; ** is beyond noise, each method compared on its own.",
            "",
            *lines,
            "",
            f"Terms with less than {100 * results_tables.FAINT:g} % of the gradient in a whole stage: "
            f"{', '.join(faint) or 'none'}.",
        ]
    )


def _versions(facts: Facts) -> str:
    return ", ".join(f"{name} {version}" for name, version in facts.versions.items() if name in ("torch", "ray"))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of a search that ended")
    parser.add_argument("--data", help="the data set's name, in the place of a folder of this machine")
    parser.add_argument("--commit", help="of the code that ran it")
    told = parser.parse_args()
    if told.folder:
        if not told.commit:
            parser.error("--commit says which code ran it, since that of today may be another")
        kept = keep(told.folder, told.data or read_facts(told.folder).data, told.commit)
        if str(Path.home()) in (kept / "search.json").read_text():
            print(f"Look at {kept / 'search.json'}: it names a folder of this machine.")
    for path in sorted(FOUND.glob("*/search.json")):
        print(f"## {path.parent.name}\n\n{said(path.parent.name)}\n")


if __name__ == "__main__":
    main()
