"""Users' Python files: what belongs to them, their hash, how they travel and are loaded."""

import sys
import zipfile
from pathlib import Path

import pytest

from kdsearch.errors import Refusal
from kdsearch.storage import code


@pytest.fixture
def folder(tmp_path) -> Path:
    """nets.py imports beside and, inside a function, the package parts; beside imports far; other is imported by
    none."""
    texts = {
        "nets.py": "import beside\nimport json\n\n\ndef deep():\n    from parts.inner import DEEP\n    return DEEP\n",
        "beside.py": "from far import FAR\n\nNEAR = FAR + 1\n",
        "far.py": "FAR = 1\n",
        "parts/__init__.py": "",
        "parts/inner.py": "DEEP = 5\n",
        "parts/more/last.py": "",
        "parts/notes.txt": "",
        "other.py": "OTHER = 1\n",
        "json2.py": "",
    }
    for name, text in texts.items():
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text(text)
    return tmp_path / "here"


@pytest.fixture
def shelves(monkeypatch) -> list[Path]:
    found: list[Path] = []
    monkeypatch.setattr(code, "SHELVES", found)
    return found


NEEDED = ["beside.py", "far.py", "nets.py", "parts/__init__.py", "parts/inner.py", "parts/more/last.py"]


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in code.files(folder / "nets.py")]


def test_a_file_needs_what_it_imports_beside_it_also_by_way_of_others_and_packages_whole(folder):
    assert names(folder) == NEEDED


def test_files_that_import_each_other_are_counted_once(folder):
    (folder / "far.py").write_text("FAR = 1\nimport nets\n")
    assert names(folder) == NEEDED


def test_a_name_in_a_relative_import_is_beside_it(folder):
    (folder / "far.py").write_text("from . import other\n")
    assert names(folder) == sorted([*NEEDED, "other.py"])


@pytest.mark.parametrize("name", [*NEEDED[:3], "parts/inner.py"])
def test_a_hash_changes_with_each_file_that_is_needed(folder, name):
    before = code.source(folder / "nets.py")
    (folder / name).write_text((folder / name).read_text() + "# more\n")
    assert code.source(folder / "nets.py") != before


@pytest.mark.parametrize("name", ["other.py", "parts/notes.txt", "new.py"])
def test_a_hash_stays_whatever_else_lies_beside(folder, name):
    before = code.source(folder / "nets.py")
    (folder / name).write_text("print('another')\n")
    assert code.source(folder / "nets.py") == before


def test_a_hash_knows_names_and_no_places(folder, tmp_path):
    before = code.source(folder / "nets.py")
    moved = folder.rename(tmp_path / "there")
    assert code.source(moved / "nets.py") == before
    (moved / "nets.py").rename(moved / "tens.py")
    assert code.source(moved / "tens.py") not in ("", before)
    assert code.source(moved / "nets.py") == ""


def test_equal_files_are_equal_bytes_and_come_out_as_they_went_in(folder, tmp_path):
    (tmp_path / "w.zip").write_bytes(code.packed(folder / "nets.py"))
    assert code.packed(folder / "nets.py") == (tmp_path / "w.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "w.zip") as archive:
        assert archive.namelist() == NEEDED
    code.unpack(tmp_path / "w.zip")
    assert code.source(tmp_path / "w" / "nets.py") == code.source(folder / "nets.py")


def test_what_is_unpacked_already_stays(folder, tmp_path):
    (tmp_path / "w.zip").write_bytes(code.packed(folder / "nets.py"))
    code.unpack(tmp_path / "w.zip")
    (tmp_path / "w" / "mark").touch()
    code.unpack(tmp_path / "w.zip")
    assert (tmp_path / "w" / "mark").exists() and not [one for one in tmp_path.iterdir() if one.name.startswith("tmp")]


def test_a_file_as_it_was_told_is_found_where_it_lies(folder, shelves):
    path = folder / "nets.py"
    assert code.kept(path, "") == path == code.kept(path, code.source(path))


def test_a_file_that_has_changed_since_or_is_gone_is_found_on_a_shelf(folder, tmp_path, shelves):
    path = folder / "nets.py"
    told, shelf = code.source(path), tmp_path / "shelf"
    shelf.mkdir()
    (shelf / f"{told}.zip").write_bytes(code.packed(path))
    code.unpack(shelf / f"{told}.zip")
    (folder / "far.py").write_text("FAR = 2\n")
    with pytest.raises(Refusal, match="or a file beside it that it imports, has changed since"):
        code.kept(path, told)
    code.look_in(shelf)
    code.look_in(shelf)
    assert shelves == [shelf]
    assert code.kept(path, told) == shelf / told / "nets.py"
    assert code.load(code.kept(path, told)).beside.NEAR == 2
    path.unlink()
    assert code.kept(path, told) == shelf / told / "nets.py"


def test_a_copy_on_a_shelf_that_was_changed_there_is_none(folder, tmp_path, shelves):
    path = folder / "nets.py"
    told = code.source(path)
    (tmp_path / f"{told}.zip").write_bytes(code.packed(path))
    code.unpack(tmp_path / f"{told}.zip")
    (tmp_path / told / "far.py").write_text("FAR = 3\n")
    code.look_in(tmp_path)
    path.unlink()
    with pytest.raises(Refusal, match="there is no file"):
        code.kept(path, told)


def test_a_file_is_loaded_once_and_again_when_what_it_imports_has_changed(folder):
    first = code.load(folder / "nets.py")
    assert code.load(folder / "nets.py") is first and first.beside.NEAR == 2
    (folder / "far.py").write_text("FAR = 4\n")
    assert code.load(folder / "nets.py").beside.NEAR == 5 and first.beside.NEAR == 2


def test_two_folders_may_have_modules_of_one_name(folder, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "nets.py").write_text("import beside\n")
    (other / "beside.py").write_text("NEAR = 70\n")
    assert [code.load(place / "nets.py").beside.NEAR for place in (folder, other, folder)] == [2, 70, 2]
    assert not {"beside", "far"} & set(sys.modules)


def test_a_folder_s_modules_are_there_only_meanwhile_and_hide_none_of_python_s(folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (folder / "colorsys.py").write_text("raise AssertionError\n")
    path = list(sys.path)
    loaded = code.load(folder / "nets.py")
    with code.beside(folder):
        assert loaded.deep() == 5
        import colorsys

        assert colorsys.ONE_THIRD
    assert sys.path == path and not [name for name in sys.modules if name.partition(".")[0] == "parts"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("def f(:", "SyntaxError"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why_and_leaves_no_trace(folder, text, said):
    (folder / "nets.py").write_text(text)
    before = set(sys.modules)
    with pytest.raises(Refusal, match=f"nets.py' cannot be loaded: {said}"):
        code.load(folder / "nets.py")
    assert not {name for name in set(sys.modules) - before if name.startswith("kdsearch_own")}
