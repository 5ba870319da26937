"""The command that lists the spaces."""


def spaces() -> None:
    """List the search spaces and their questions."""
    from rich.table import Table

    from kdsearch.cli import tables
    from kdsearch.search import spaces as search_spaces

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    for name, question in search_spaces.names().items():
        table.add_row(name, question)
    console = tables.console()
    console.print(table)
    console.print("Your own: kdsearch tune ./my_space.py", style="dim")
