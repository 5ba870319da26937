"""The command that lists the spaces."""


def spaces() -> None:
    """List the search spaces and their questions."""
    from kdsearch.results import show
    from kdsearch.search import spaces as search_spaces

    console = show.console()
    console.print(show.listing(search_spaces.names()))
    console.print("Your own: kdsearch tune ./my_space.py", style="dim")
