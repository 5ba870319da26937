"""A user's Python file: which modules beside it it needs, the hash of all of them, and how it is loaded."""

import ast
import contextlib
import hashlib
import importlib.util
import io
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from kdsearch.errors import Refusal, first_line

SHELVES: list[Path] = []
"""Folders with copies of users' files, each in a folder named by its hash: where workers find them."""


def files(path: Path) -> list[Path]:
    """A file and all that it imports from its own folder, also by way of others; a package with all of its files."""
    folder, found, waiting = path.resolve().parent, dict[Path, None](), [path.resolve()]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found[one] = None
        for name in _imported(one):
            module, package = folder / f"{name}.py", folder / name
            waiting += [module] if module.is_file() else sorted(package.rglob("*.py")) if package.is_dir() else []
    return sorted(found)


def _imported(path: Path) -> set[str]:
    """First parts of the names that a file imports, anywhere in it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()  # its loading says what is wrong with it
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module.partition(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def source(path: Path) -> str:
    """Hash of a file and of all that it imports from its own folder; empty where there is none."""
    if not path.is_file():
        return ""
    digest, folder = hashlib.sha256(), path.resolve().parent
    for file in files(path):
        name = file.relative_to(folder).as_posix()
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def kept(path: Path, told: str) -> Path:
    """Where a file lies as it was when its hash was `told`: there, or on a shelf. Raises Refusal."""
    here = source(path)
    if here and told in ("", here):
        return path
    for there in (shelf / told / path.name for shelf in SHELVES if told):
        if source(there) == told:
            return there
    if here:
        raise Refusal(
            f"Code is run again as it was, but '{path}', or a file beside it that it imports, has changed since; bring "
            f"it back, or begin anew."
        )
    raise Refusal(f"A file of one's own is FILE.py:NAME, but there is no file '{path}'.")


def packed(path: Path) -> bytes:
    """A file and all that it imports beside it, as a zip; equal files are equal bytes."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        for file in files(path):
            archive.writestr(zipfile.ZipInfo(file.relative_to(path.resolve().parent).as_posix()), file.read_bytes())
    return found.getvalue()


def unpack(archive: Path) -> None:
    """Beside it, into a folder of its name, where that is not done yet."""
    target = archive.with_suffix("")
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=archive.parent) as draft, zipfile.ZipFile(archive) as found:
            found.extractall(Path(draft) / "all")
            with contextlib.suppress(OSError):  # another process was faster
                (Path(draft) / "all").rename(target)


def look_in(folder: Path) -> None:
    """Users' files may lie there, too."""
    if folder not in SHELVES:
        SHELVES.append(folder)


def load(path: Path) -> ModuleType:
    """A user's file as a module under a name of its own, once for each state of it; meanwhile it can import what lies
    beside it. Raises Refusal for whatever it raises."""
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"kdsearch_own_{place}_{source(path)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with beside(path.resolve().parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise Refusal(f"The file '{path}' cannot be loaded: {type(error).__name__}: {first_line(error)}") from error
    return module


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """A folder's modules can be imported: last on the path, so that a user's profile.py is not taken for Python's; and
    forgotten afterwards, so that another folder may have one of the same name."""
    before, path = set(sys.modules), str(folder)
    sys.path.append(path)
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            if not name.startswith("kdsearch_own_") and str(getattr(sys.modules[name], "__file__", "")).startswith(
                path
            ):
                del sys.modules[name]
