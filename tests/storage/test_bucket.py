"""A folder, or a bucket with a copy of what is used here."""

import os
import pickle
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from bucket import free_port

from kdsearch.errors import Refusal
from kdsearch.storage import bucket as storage_bucket
from kdsearch.storage import cache
from kdsearch.storage.bucket import Storage, at


@pytest.fixture
def bucket(options, tmp_path) -> Storage:
    return replace(at(f"s3://searches/{uuid4().hex}{options}"), folder=tmp_path / "here")


@pytest.fixture(params=["folder", "bucket"])
def kept(request, tmp_path) -> Storage:
    return at(tmp_path / "here") if request.param == "folder" else request.getfixturevalue("bucket")


def other(one: Storage, tmp_path: Path) -> Storage:
    """The same storage as another machine has it."""
    return replace(one, folder=tmp_path / "elsewhere") if one.uri else one


def put(one: Storage, name: str, text: str = "text") -> Path:
    path = one.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    one.push(path)
    return path


def test_what_one_machine_pushes_another_pulls(kept, tmp_path):
    put(kept, "search/tables/trials.parquet", "rows")
    there = other(kept, tmp_path)
    path = there.folder / "search" / "tables" / "trials.parquet"
    assert there.pull(path) and path.read_text() == "rows"
    put(kept, "search/tables/trials.parquet", "more rows")
    assert there.pull(path) and path.read_text() == "more rows"


def test_when_a_file_was_written_is_what_its_place_says_and_not_the_copy(bucket, tmp_path):
    before = time.time()
    here, there = put(at(tmp_path / "there"), "file"), put(bucket, "file")
    for path in (here, there):
        os.utime(path, (1, 1))
    assert at(tmp_path / "there").written(here) == 1 and before - 60 < bucket.written(there) < before + 60


def test_a_file_that_is_nowhere_cannot_be_pulled_and_leaves_nothing(kept):
    assert not kept.pull(kept.folder / "search" / "search.json")
    assert not kept.folder.exists()


def test_a_reader_never_sees_half_a_file(bucket, tmp_path):
    texts = ["a" * 3_000_000, "b" * 3_000_000]
    path = put(bucket, "search/file", texts[0])
    there = other(bucket, tmp_path)
    target = there.folder / "search" / "file"
    assert there.pull(target)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(target.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        path.write_text(texts[number % 2])
        bucket.push(path)
        there.pull(target)
    stop.set()
    reader.join()
    assert seen <= set(texts)
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]


def test_a_pull_that_fails_leaves_the_old_file(bucket, tmp_path, monkeypatch):
    path = put(bucket, "file", "old")

    def full(self: Path, data: bytes) -> int:
        self.write_text(str(data[:1]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        bucket.pull(path)
    assert path.read_text() == "old" and [entry.name for entry in bucket.folder.iterdir()] == ["file"]


def test_a_folder_is_pulled_with_what_was_asked_for(bucket, tmp_path):
    for name in ("s/search.json", "s/trials.parquet", "s/.driver.json", "s/students/1.safetensors", "t/search.json"):
        put(bucket, name)
    there = other(bucket, tmp_path)

    def found() -> set[str]:
        files = there.folder.rglob("*")
        return {path.relative_to(there.folder).as_posix() for path in files if path.is_file()}

    there.pull_folder(there.folder / "s", suffixes=(".parquet",))
    assert found() == {"s/trials.parquet"}
    there.pull_folder(there.folder / "s")
    assert found() == {"s/trials.parquet", "s/search.json"}
    there.pull_folder(there.folder / "s" / "students")
    assert found() == {"s/trials.parquet", "s/search.json", "s/students/1.safetensors"}
    there.pull_folder(there.folder / "nowhere")


def test_what_is_here_is_not_pulled_again_where_only_the_absent_is_asked_for(bucket, tmp_path):
    for name in ("store/a", "store/b"):
        put(bucket, name)
    there = other(bucket, tmp_path)
    (there.folder / "store").mkdir(parents=True)
    (there.folder / "store" / "a").write_text("own")
    there.pull_folder(there.folder / "store", absent=True)
    assert (there.folder / "store" / "a").read_text() == "own" and (there.folder / "store" / "b").exists()


def test_what_is_removed_is_gone_on_all_machines(kept, tmp_path):
    path, own = put(kept, "search/file"), put(kept, "search/students/1")
    there = other(kept, tmp_path)
    there.remove(there.folder / "search" / "file")
    assert not kept.pull(path) and not there.pull(there.folder / "search" / "file")
    there.remove(there.folder / "search" / "file")
    there.remove(there.folder / "search")
    assert not kept.pull(own)
    there.remove(there.folder / "search")
    assert there.names(there.folder) == []


def test_names_are_those_here_and_in_the_bucket(kept, tmp_path):
    assert kept.names(kept.folder) == []
    for name in ("one/search.json", "two/search.json", ".hidden"):
        put(kept, name)
    there = other(kept, tmp_path)
    (there.folder / "three").mkdir(parents=True)
    assert there.names(there.folder) == ["one", "three", "two"]
    assert there.names(there.folder / "one") == ["search.json"]


def test_a_check_leaves_nothing(kept):
    kept.check()
    assert list(kept.folder.iterdir()) == []
    if kept.uri:
        assert list(kept._listed(kept.folder)) == []


def test_a_storage_travels_to_another_process(kept):
    put(kept, "file")
    again = pickle.loads(pickle.dumps(kept))
    assert again == kept and again.pull(again.folder / "file")


def test_a_word_tells_another_process_where(kept, tmp_path, monkeypatch):
    assert at(kept.word).word == kept.word
    monkeypatch.chdir(tmp_path)
    assert at("here").folder == Path("here") and at("here").word == str(tmp_path / "here")
    assert at(f"file://{tmp_path}/here") == Storage(tmp_path / "here")


def test_a_bucket_s_copy_lies_in_the_cache_under_a_name_of_its_own(options):
    copies = [at(f"s3://searches/{name}{options}").folder for name in ("a/b", "a-b", "a/b/c")]
    assert len(set(copies)) == 3
    for copy in copies:
        assert copy.parent == cache.folder() / "storage" and copy.name.startswith("s3-searches-a-b")
    assert at("s3://searches/a/?region=eu-west-1").folder != at("s3://searches/a/?region=us-east-1").folder
    assert at("gs://searches/a/") == at("gs://searches/a")


@pytest.mark.parametrize(
    "word, said",
    [
        ("gss://bucket/path", r"no storage with the scheme 'gss'.*Did you mean 'gs'"),
        ("https://example.org/x", "scheme 'https'"),
        ("s3://", "names the bucket"),
        ("s3://bucket/x?regin=here", "of 'bucket' holds regin; give credentials .* beside: .*region"),
        ("s3://key:geheim@bucket/x", "'bucket' holds a user or password"),
        ("gs://geheim@bucket/x", "'bucket' holds a user or password"),
        ("s3://bucket/x?access_key=a&secret_key=geheim&region=eu", "holds access_key, secret_key; give credentials"),
        ("abfs://c@acc.dfs.core.windows.net/x?sv=2022&sig=geheim", "holds sig, sv"),
        ("abfs://c@acc.dfs.core.windows.net/x?tenant_id=t&client_secret=geheim", "holds client_secret, tenant_id"),
        ("gs://bucket/x?access_token=geheim", "holds access_token"),
        ("hdfs://h:1/x?kerb_ticket=geheim", "holds kerb_ticket"),
    ],
)
def test_a_word_that_names_no_storage_is_refused(word, said):
    with pytest.raises(Refusal, match=said) as refused:
        at(word)
    assert "geheim" not in str(refused.value)


def test_a_bucket_that_does_not_exist_is_refused(options, tmp_path):
    with pytest.raises(Refusal, match=r"s3://nowhere/x/.*cannot be written .*create the bucket first"):
        replace(at(f"s3://nowhere/x{options}"), folder=tmp_path).check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("listening", [False, True])
def test_a_dead_endpoint_is_refused_in_15_seconds(tmp_path, listening):
    """One where nobody listens, and one that never answers."""
    with socket.socket() as silent:
        port = free_port()
        if listening:
            silent.bind(("127.0.0.1", port))
            silent.listen()
        dead = f"s3://bucket/x?region=us-east-1&endpoint_override=127.0.0.1:{port}&scheme=http"
        began = time.monotonic()
        with pytest.raises(Refusal, match=r"cannot be written \(When .*network"):
            replace(at(dead), folder=tmp_path).check()
        assert time.monotonic() - began < 15


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "below", Path("/proc/searches")):
        with pytest.raises(Refusal, match=r"cannot be \(.*let --storage name another"):
            at(place).check()


def test_an_error_names_the_object(bucket, monkeypatch):
    class Broken:
        def open_input_stream(self, key: str) -> None:
            raise OSError("AWS Error ACCESS_DENIED during HeadObject operation")

    monkeypatch.setattr(storage_bucket, "_opened", lambda uri: (Broken(), "key"))
    with pytest.raises(Refusal, match=r"s3://searches/.*/a/b' cannot be read \(AWS.*credentials"):
        bucket.pull(bucket.folder / "a" / "b")
