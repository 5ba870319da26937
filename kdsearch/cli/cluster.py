"""The commands about cluster files."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kdsearch.errors import Refusal


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("cluster.yaml"),
) -> None:
    """Write the cluster file that comes with kdsearch: AWS, with machines of your own told at its end."""
    from kdsearch.cluster.file import SHIPPED

    try:
        with file.open("xb") as new:
            new.write(SHIPPED.read_bytes())
    except FileExistsError:
        raise Refusal(f"A new cluster file overwrites nothing, but '{file}' exists; name another.") from None
    print(f"Written: {file}. Change the lines that say CHANGE, then: kdsearch cluster check {shlex.quote(str(file))}")


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A cluster file, as `ray up` takes it.")],
) -> None:
    """Check a cluster file without contacting anybody: Ray's own schema, then what kdsearch needs."""
    from kdsearch.cluster import file as cluster_file
    from kdsearch.cluster import lints as cluster_lints

    config = cluster_file.read(file)
    wrong = list(cluster_lints.findings(config))
    for sentence in wrong:
        print(sentence)
    if wrong:
        raise Refusal(f"'{file}' breaks {len(wrong)} rule{'s' if len(wrong) > 1 else ''}, see above.")
    open_words = cluster_lints.placeholders(config)
    for word in open_words:
        print(f"Yours to fill in: {word}")
    but = f", once the {len(open_words)} words above are yours" if open_words else ""
    print(f"{file}: {cluster_lints.summary(config)}: looks right{but}")
