"""The papers' tables as pipelines: their rows, their counts, their quirks; and what a scale makes of them."""

import json

import pytest

from kdsearch.cli import app
from kdsearch.config.net import Own
from kdsearch.config.pipeline import Pipeline
from kdsearch.distill.train import rate
from kdsearch.errors import Refusal
from kdsearch.papers import printed, scales, tables

TABLES = list(tables.TABLES)


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    def said(words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(app.sys, "argv", ["kdsearch", *words.split()])
        with pytest.raises(SystemExit) as end:
            app.main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return said


def hints(table: str) -> dict[str, tuple]:
    """Weights of the pairs, and of labels, in the first stage of each row that has one."""
    rows = tables.find(table).rows.items()
    found = {name: row.student.hints for name, row in rows}
    return {name: (*(pair.weight for pair in own.pairs), own.ce_weight) for name, own in found.items() if own}


def test_every_printed_table_has_a_protocol():
    assert sorted(TABLES) == printed.names()


@pytest.mark.parametrize("table", TABLES)
def test_the_rows_are_the_printed_ones_and_their_pipelines_are_valid(table):
    protocol = tables.find(table)
    assert list(protocol.rows) == list(dict.fromkeys(line.row for line in printed.read(table)))
    for row in protocol.rows.values():
        assert Pipeline.model_validate_json(row.model_dump_json()) == row
        assert row.data == protocol.data and row.data.validation == "test" and row.data.changes == "none"
    if tables.TEACHER in protocol.rows:
        links = protocol.rows[tables.TEACHER].links
        assert all(row.links[: len(links)] == links for row in protocol.rows.values() if len(row.links) > len(links))


@pytest.mark.parametrize("table", TABLES)
def test_a_dry_run_counts_as_the_paper_does(table, say):
    code, out, _ = say(f"reproduce {table} --scale full --dry-run --json")
    rows = json.loads(out)["rows"]
    told = [(row["printed"].get("parameters"), row["counted"]) for row in rows]
    assert code == 0 and all(count == (own["correct"] or own["value"]) for own, count in told if own)


COUNTS = {
    "seed1-table1": {"teacher": 3_201_122, "KD": 140_378, "1→3": 158_938, "2→6": 243_262, "3→9": 294_526},
    "seed1-table2": {"teacher": 3_247_292, "KD": 151_988, "1→3": 170_548, "2→6": 254_872, "3→9": 306_136},
    "seed1-table3": {"1→1": 94_234, "1→2": 126_586, "1→3": 158_938, "1→4": 191_290},
    "seed1-table4": {"1→1": 105_844, "1→2": 138_196, "1→3": 170_548, "1→4": 202_900},
    "seed1-table5": {"1→3 2→6": 261_822, "2→6 3→9": 397_410, "1→3 3→9": 313_086},
    "seed1-table6": {"1→3 2→6": 273_432, "2→6 3→9": 409_020, "1→3 3→9": 324_696},
    "seed2-table1": {"teacher": 1_422_378, "labels": 693_962, "KD": 693_962},
    "seed2-table3": {"teacher": 658_586, "8": 13_146, "labels 4": 37_530, "labels 6": 83_226, "labels 8": 328_922},
    "seed2-alpha-temperature": {"teacher": 11_183_562, "labels": 816_938},
    "seed2-data-fraction": {"labels 1": 816_938, "KD 0.05": 816_938},
    "seed2-teacher-free": {"labels": 816_938},
    "seed2-distilled-teacher": {"teacher": 816_938},
}
DEPLOYED = {
    "seed1-table1": {"3→9": 140_378}, "seed1-table2": {"3→9": 151_988},
    "seed1-table3": {"1→1": 75_674, "1→2": 108_026, "1→3": 140_378, "1→4": 172_730},
    "seed1-table4": {"1→1": 87_284, "1→2": 119_636, "1→3": 151_988, "1→4": 184_340},
    "seed2-table3": {"teacher": 657_114, "8": 13_082, "labels 4": 37_338, "labels 6": 82_778, "labels 8": 327_962},
    "seed2-alpha-temperature": {"teacher": 11_173_962, "labels": 815_530},
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
def test_counts_are_exact_with_and_without_what_is_discarded(table, say):
    rows = {row["row"]: row for row in json.loads(say(f"reproduce {table} --dry-run --json")[1])["rows"]}
    assert {name: rows[name]["counted"] for name in COUNTS[table]} == COUNTS[table]
    deployed = DEPLOYED.get(table, {})
    assert {name: rows[name]["parameters"] for name in deployed} == deployed


def test_compression_is_of_the_deployed_student(say):
    rows = {row["row"]: row for row in json.loads(say("reproduce seed1-table1 --dry-run --json")[1])["rows"]}
    assert rows["1→3"]["compression"] == rows["labels"]["compression"] == 3_201_122 / 140_378


def test_the_first_stage_minimises_what_each_notebook_did():
    assert set(hints("seed1-table1").values()) == {(0, 1)}  # no hint signal at all
    assert set(hints("seed1-table2").values()) == {(0.25, 0.75)}
    assert hints("seed1-table3").keys() == hints("seed1-table4").keys() == {"1→1", "1→2", "1→3", "1→4"}
    assert set(hints("seed1-table3").values()) == set(hints("seed1-table4").values()) == {(0.25, 0.75)}
    assert set(hints("seed1-table5").values()) == {(0.125, 0.125, 0.75)}
    assert set(hints("seed1-table6").values()) == {(0, 0, 0.75)}


def test_students_with_hints_train_ten_and_ten_epochs_and_the_others_fifteen():
    rows = tables.find("seed1-table5").rows
    assert {(row.student.fit.epochs, row.student.hint_epochs) for row in rows.values()} == {(15, 0), (20, 10)}


def test_the_rate_drops_on_entering_epochs_30_60_and_90():
    def drops(fit) -> list[int]:
        return [
            epoch + 1
            for epoch in range(1, fit.epochs)
            if rate(fit, epoch, fit.epochs) < rate(fit, epoch - 1, fit.epochs)
        ]

    rows = tables.find("seed2-alpha-temperature").rows
    assert drops(rows["teacher"].student.fit) == [30, 60, 90] and drops(rows["labels"].student.fit) == []
    assert drops(tables.find("seed2-teacher-free").rows["α=0.2 T=2"].student.fit) == [30]


def test_the_same_network_in_several_tables_is_one_network():
    grid, parts, free = (
        tables.find(f"seed2-{name}").rows for name in ("alpha-temperature", "data-fraction", "teacher-free")
    )
    assert grid["labels"] == parts["labels 1"] == free["labels"] and grid["α=0.6 T=8"] == parts["KD 1"]
    assert free["α=0.2 T=2"].links[0] == free["labels"].student
    assert tables.find("seed2-distilled-teacher").rows["α=0.4 T=4"].links[1].kd == grid["α=0.6 T=2"].student.kd


@pytest.mark.parametrize("table", TABLES)
def test_scales_reduce_and_leave_each_stage_an_epoch(table):
    published = tables.find(table)
    assert scales.resized(published, scales.named("full"), published.data.name).rows == published.rows
    small, tiny = (scales.resized(published, scales.named(word), "digits").rows for word in ("small", "tiny"))
    for name, row in published.rows.items():
        for own, less, least in zip(row.links, small[name].links, tiny[name].links, strict=True):
            whole, third = own.fit.epochs or 0, less.fit.epochs or 0
            assert least.fit.epochs == 2 <= third <= -(-whole // 3) and less.net == own.net
            assert not isinstance(least.net, Own) and not isinstance(own.net, Own)
            assert least.net.width == own.net.width / 4 and least.kd == own.kd
            assert not own.hints or (0 < less.hint_epochs < third and least.hint_epochs == 1)
        assert (small[name].data.images, tiny[name].data.images) == (5000, 400)
        assert Pipeline.model_validate_json(tiny[name].model_dump_json()) == tiny[name]


def test_the_first_images_of_a_folder_would_be_of_one_class_so_they_are_drawn(tmp_path):
    published = tables.find("seed2-data-fraction")
    folder = scales.resized(published, scales.named("full"), str(tmp_path), 0.2)
    assert {link.fit.subset for row in folder.rows.values() for link in row.links} == {"stratified"}
    assert scales.FOLDERS in folder.remarks and scales.FOLDERS not in published.remarks
    assert published.rows["KD 0.05"].student.fit.subset == "first" and folder.data.validation == 0.2


def test_without_a_table_all_are_listed_with_their_titles(say):
    code, out, _ = say("reproduce")
    assert code == 0 and all(name in out for name in TABLES) and "the student as its own teacher" in out
    assert json.loads(say("reproduce --json")[1]) == {name: own.title for name, own in tables.TABLES.items()}


@pytest.mark.parametrize(
    "words, said",
    [
        ("reproduce seed1-tabel1", "There is no table 'seed1-tabel1'; there is seed1-table1"),
        ("reproduce seed1-tabel1", "Did you mean 'seed1-table1'?"),
        (
            "reproduce seed1-table1 --scale smal",
            "There is no scale 'smal'; there is full, small, tiny. Did you mean 'small'?",
        ),
        ("reproduce seed1-table1 --data cifar11", "Did you mean 'cifar10'?"),
        ("reproduce seed1-table1 --data ./nowhere", "there is no folder './nowhere'"),
        ("reproduce seed1-table1 --dry-run --data ./nowhere", "there is no folder './nowhere'"),
    ],
)
def test_unknown_words_are_refused_with_the_nearest(words, said, say, tmp_path):
    code, out, err = say(words)
    assert code == 2 and said in err and out == "" and not list(tmp_path.iterdir())


def test_unknown_tables_are_told_at_once():
    with pytest.raises(Refusal, match="Did you mean 'seed2-teacher-free'"):
        tables.find("seed2-teacherfree")


def test_a_dry_run_says_what_the_print_got_wrong_and_what_is_not_repeated(say, tmp_path):
    code, out, err = say("reproduce seed1-table6 --dry-run")
    assert code == 0 and err == "" and not list(tmp_path.iterdir())
    assert "printed 170,548, right is 273,432: copied from the row with hint 1 alone" in out
    assert "never put in evaluation mode" in out and "not comparable with the print" in out


def test_a_row_that_cannot_be_is_told_and_the_others_are_counted(say, monkeypatch):
    published = tables.find("seed1-table1")
    plain = published.rows["3→9"].model_dump(mode="json")
    plain["links"][1]["hints"]["pairs"][0]["guided"] = 10
    rows = {**published.rows, "3→9": Pipeline.model_validate(plain)}
    monkeypatch.setitem(tables.TABLES, "seed1-table1", tables.Protocol("t", rows))
    code, out, _ = say("reproduce seed1-table1 --dry-run")
    assert code == 1 and "Cannot be: 3→9: Refusal: pair 3→10: the student has 9 layers" in out and "243,262" in out


def test_two_folders_of_the_same_last_name_are_two_tables():
    assert scales.called("/a/photos") != scales.called("/b/photos") and scales.called("/a/photos").startswith("photos-")
    assert scales.called("digits") == "digits"
