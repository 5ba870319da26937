"""Searches in a bucket, looked at, exported and confirmed from a machine that has nothing of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from helpers import FACTS, MADE, STUDENT, pipeline

import kdsearch
from kdsearch.cli import app
from kdsearch.cli.options import name_of
from kdsearch.distill.store import save_net
from kdsearch.errors import Refusal
from kdsearch.nets import build
from kdsearch.results import files, searches
from kdsearch.results import folder as results_folder
from kdsearch.results import tables as results_tables
from kdsearch.results.facts import read_facts, write_facts
from kdsearch.results.tables import Pending
from kdsearch.storage import lease
from kdsearch.storage.bucket import Storage, at

Say = Callable[[str], tuple[int, str, str]]
SIZES = {"parameters": 100, "compression": 10.0, "training_parameters": 100, "macs": 100}


@pytest.fixture
def bucket(options, tmp_path, monkeypatch) -> Storage:
    """One with a finished search of one trial, whose writer's copy is elsewhere."""
    word = f"s3://searches/{uuid4().hex}{options}"
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "writer"))
    there = at(word)
    folder = there.folder / "s"
    tables = results_tables.Tables(folder)
    tables.add("0", pipeline().model_dump(mode="json"), {**SIZES, "reference": None}, {})
    tables.trials["0"]["accuracy"] = 0.9
    tables.mark("0", "complete")
    save_net(folder / "students" / "0.safetensors", build.build(STUDENT, (1, 8, 8), 2), MADE)
    tables.write(at_once=True)
    write_facts(folder, FACTS)
    for path in folder.rglob("*.*"):
        there.push(path)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "reader"))
    return at(word)


@pytest.fixture
def say(tmp_path, monkeypatch, capsys) -> Say:
    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["kdsearch", *words.split()])
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return said


@pytest.mark.parametrize("option", ["--storage", "--results", "KDSEARCH_STORAGE"])
def test_status_reads_a_search_in_a_bucket(bucket, say, monkeypatch, option):
    words = f" {option} {bucket.uri}" if option.startswith("--") else ""
    if not words:
        monkeypatch.setenv(option, str(bucket.uri))
    code, out, _ = say(f"status s --json{words}")
    assert code == 0 and [row["trial"] for row in json.loads(out)["front"]] == ["0"]
    assert json.loads(out)["state"] == "interrupted"


def test_a_search_that_was_opened_in_a_bucket_shows_what_came_since(bucket, tmp_path, monkeypatch):
    opened = kdsearch.open("s", str(bucket.uri))
    assert set(opened.trials["trial"]) == {"0"}
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "writer"))
    there = at(str(bucket.uri))
    tables = results_tables.read(there.folder / "s")
    tables.add("1", pipeline().model_dump(mode="json"), {**SIZES, "reference": None}, {})
    tables.write(at_once=True)
    there.push(there.folder / "s" / "trials.parquet")
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "reader"))
    assert set(opened.trials["trial"]) == {"0", "1"}


def test_all_searches_in_a_bucket_are_listed(bucket, say):
    stale = bucket.folder / "bad" / "search.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{")
    bucket.push(stale)
    _, out, _ = say(f"status --json --storage {bucket.uri}")
    bad, own = json.loads(out)["searches"]
    assert (bad["name"], bad["state"]) == ("bad", "damaged") and "search.json" in bad["cause"]
    assert (own["name"], own["state"], own["accuracy"], own["front"]) == ("s", "interrupted", 0.9, 1)
    with lease.hold(bucket, bucket.folder / "s"):
        assert "s       running" in say(f"status --storage {bucket.uri}")[1]


def test_a_search_whose_driver_is_elsewhere_is_running(bucket, say):
    with lease.hold(bucket, bucket.folder / "s"):
        _, out, _ = say(f"status s --json --storage {bucket.uri}")
        assert json.loads(out)["state"] == "running"


def test_looking_leaves_the_files_of_a_driver_on_this_machine_alone(bucket, say):
    own = bucket.folder / "s" / "search.json"
    own.parent.mkdir(parents=True)
    own.write_text("newer")
    assert say(f"status s --storage {bucket.uri}")[0] == 0
    assert own.read_text() == "newer" and list(own.parent.iterdir()) == [own]


def test_a_search_that_the_bucket_has_not_is_refused_with_those_it_has(bucket, say):
    code, _, error = say(f"status t --storage {bucket.uri}")
    assert code == 2 and "There is no search in 's3://" in error and "there is s." in error


def test_a_path_means_this_machine_whatever_the_storage(bucket, say, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "writer" / "storage" / bucket.folder.name / "s").rename(tmp_path / "results" / "s")
    code, out, _ = say(f"status ./results/s --storage {bucket.uri}")
    assert code == 0 and out.startswith("results/s: interrupted")


def test_an_export_brings_the_students_that_it_needs(bucket, say, tmp_path):
    code, out, _ = say(f"export s --trial 0 --storage {bucket.uri}")
    assert code == 0, out
    assert (tmp_path / "exports" / "s" / "0" / "student.safetensors").is_file()


def test_a_replay_finds_a_search_in_a_bucket(bucket, say):
    code, _, error = say(f"replay s --storage {bucket.uri}")
    assert code == 2 and "There is no search" not in error and "replay" in error


def test_a_search_that_another_driver_holds_is_not_confirmed(bucket, say):
    with lease.hold(bucket, bucket.folder / "s"):
        code, _, error = say(f"confirm s --storage {bucket.uri}")
        assert code == 2 and "A search has one driver" in error


def test_what_is_written_to_a_driven_search_is_in_the_bucket_when_told_and_at_the_end(bucket):
    reader = searches.reading(str(bucket.uri))
    with searches.driven("s", bucket) as (folder, _, send):
        assert (folder / "trials.parquet").is_file() and not (folder / "students").exists()
        (folder / "confirmed.parquet").write_text("one")
        send()
        assert reader.pull(reader.folder / "s" / "confirmed.parquet")
        (folder / "confirmed").mkdir()
        (folder / "confirmed" / "0-4.safetensors").write_text("student")
    assert reader.pull(reader.folder / "s" / "confirmed" / "0-4.safetensors")
    assert lease.holder(bucket, folder) is None


def test_what_was_written_before_an_error_is_in_the_bucket(bucket):
    with pytest.raises(KeyboardInterrupt), searches.driven("s", bucket) as (folder, _, _):
        (folder / "confirmed.parquet").write_text("one")
        raise KeyboardInterrupt
    reader = searches.reading(str(bucket.uri))
    assert reader.pull(reader.folder / "s" / "confirmed.parquet")


@pytest.fixture
def drive(bucket, monkeypatch, tmp_path) -> Callable[..., Storage]:
    """What the driver of search `s` does on one of two machines: go on, or begin; note an epoch; be killed or not."""

    def driven(machine: str, run: str, seconds: float, sent: bool) -> Storage:
        monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / machine))
        there = at(str(bucket.uri))
        folder = searches.resumed("s", there)
        tables = results_tables.Tables(folder, pending=Pending(folder / results_tables.PENDING), push=there.push)
        tables.take_over()
        write_facts(folder, read_facts(folder).plain() | {"run": run})
        (folder / results_folder.RUN).write_text(run)
        there.push(folder / "search.json")
        epochs = 1 + len(tables.epochs)
        row = {"link": 1, "stage": "kd", "epoch": epochs, "kd_epoch": epochs, "accuracy": 0.9, "seconds": seconds}
        tables.extend("0", [row], student=1)
        if sent:
            tables.write(at_once=True)
        return there

    return driven


def seconds(storage: Storage) -> list[float]:
    """Of the epochs that a driver finds which goes on there."""
    return [row["seconds"] for row in results_tables.read(searches.resumed("s", storage)).epochs]


def test_who_goes_on_where_the_driver_was_killed_has_what_it_did_not_send(drive):
    there = drive("one", "a", 1.0, sent=False)
    assert seconds(there) == [1.0]
    # And once more, when some tables were written but not sent.
    folder = there.folder / "s"
    noted = results_tables.read(folder)
    files.write_table(folder / "epochs.parquet", [*noted.epochs], files.EPOCHS)
    assert seconds(there) == [1.0]


def test_who_goes_on_elsewhere_has_what_was_sent(drive):
    drive("one", "a", 1.0, sent=True)
    drive("one", "b", 2.0, sent=False)
    assert seconds(drive("two", "c", 3.0, sent=True)) == [1.0, 3.0]


def test_who_comes_back_finds_what_was_done_elsewhere_and_nothing_of_its_own_that_was_not_sent(drive):
    first = drive("one", "a", 1.0, sent=True)
    drive("one", "b", 2.0, sent=False)
    (first.folder / "s" / "checkpoints").mkdir()
    drive("two", "c", 3.0, sent=True)
    again = drive("one", "d", 4.0, sent=False)
    assert seconds(again) == [1.0, 3.0, 4.0] and not (again.folder / "s" / "checkpoints").exists()


def test_a_copy_that_was_only_brought_is_brought_anew(drive, monkeypatch, tmp_path):
    two = drive("two", "a", 1.0, sent=True)
    monkeypatch.setenv("KDSEARCH_CACHE", str(tmp_path / "one"))
    one = at(two.word)
    assert seconds(one) == [1.0]  # it asks, and is refused for another reason; the second machine still runs
    tables = results_tables.Tables(two.folder / "s", push=two.push)
    tables.take_over()
    tables.extend("0", [{**tables.epochs[0], "epoch": 2, "seconds": 2.0}], student=1)
    tables.write(at_once=True)
    assert seconds(one) == [1.0, 2.0]


def test_a_confirmation_leaves_a_killed_driver_s_tables_alone(drive):
    there = drive("one", "a", 1.0, sent=False)
    with searches.driven("s", there) as (folder, _, _):
        assert [row["seconds"] for row in results_tables.read(folder).epochs] == [1.0]


def test_a_search_that_runs_here_is_not_taken_over(drive):
    there = drive("one", "a", 1.0, sent=False)
    with results_folder.driver_lock(there.folder / "s"), pytest.raises(Refusal, match="A search has one driver"):
        searches.resumed("s", there)


def test_a_search_that_the_bucket_has_not_leaves_no_folder(bucket):
    with pytest.raises(Refusal, match="There is no search in 's3:"):
        searches.resumed("t", bucket)
    assert not (bucket.folder / "t").exists()


def test_networks_that_are_here_are_not_brought_again(bucket, tmp_path):
    network = bucket.folder / "store" / "a.safetensors"
    network.parent.mkdir(parents=True)
    for name in ("a", "b"):
        path = network.with_stem(name)
        path.write_text("there")
        bucket.push(path)
        path.unlink()
    network.write_text("here")
    searches.bring_networks(bucket, ["a", "b", "c"])
    assert network.read_text() == "here" and network.with_stem("b").read_text() == "there"


def test_a_folder_without_the_search_s_own_file_is_refused(bucket):
    path = bucket.folder / "t" / "trials.parquet"
    path.parent.mkdir(parents=True)
    path.write_text("")
    bucket.push(path)
    with pytest.raises(Refusal, match=r"holds a search.json, but 't' in 's3:"):
        searches.find("t", bucket)


def test_a_hint_for_the_next_command_names_the_storage_unless_it_is_the_default(tmp_path):
    assert name_of(Path("results/a search")) == "'a search'"
    assert name_of(tmp_path / "s", str(tmp_path)) == str(tmp_path / "s")
    word = "s3://bucket/x?region=eu-west-1&scheme=http"
    assert name_of(at(word).folder / "s", word) == f"s --storage '{word}'"
    assert name_of(tmp_path / "s", word) == str(tmp_path / "s")


def test_a_folder_that_a_killed_process_left_empty_is_free(tmp_path):
    storage = at(tmp_path)
    for name in ("full", "empty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".driver.lock").touch()
    (tmp_path / "full" / "search.json").touch()
    assert searches.names_taken(storage) == ["full"]


def test_a_search_that_goes_on_without_a_name_must_be_the_only_one_of_its_space(tmp_path):
    storage = at(tmp_path)
    assert searches.only("s", storage) == "s"
    for name in ("s-2", "s-mine", "store", "t"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "search.json").touch()
    assert searches.only("s", storage) == "s-2"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "search.json").touch()
    with pytest.raises(Refusal, match="several searches of 's': s, s-2"):
        searches.only("s", storage)
