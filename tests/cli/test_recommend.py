"""What `gaterec recommend` and `gaterec explain` print, write and refuse."""

from pathlib import Path

import polars as pl
import pytest

from tests.support.commands import TINY, gaterec, write_log
from tests.support.servers import train


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three runs."""
    place = tmp_path_factory.mktemp("recommend_command")
    for model in ("Pop", "ItemKNN", "HGN"):
        tiny = TINY if model == "HGN" else ()
        assert (
            gaterec("run", f"--model={model}", "-d", write_log(place / "log.csv"), f"--checkpoint_dir={place / 'saved'}", *tiny).code == 0
        )
    return place / "saved"


def test_the_newest_run_of_a_folder_recommends(saved: Path) -> None:
    outcome = gaterec("recommend", saved, "--users=u1,u2", "-k", 3)
    assert (outcome.code, outcome.err) == (0, "")
    assert "HGN on log: recommended" in outcome.out
    assert outcome.out.count("u1 ") == outcome.out.count("u2 ") == 3
    (pop,) = saved.glob("Pop-*")
    assert "Pop on log: recommended" in gaterec("recommend", pop, "--users=u1").out


def test_reasons_are_told_item_by_item(saved: Path) -> None:
    outcome = gaterec("recommend", saved, "--users=u1,nobody", "-k", 2, "--why")
    assert outcome.code == 0
    assert outcome.out.count("because ") >= 3
    assert outcome.out.count("because many choose it") == 2
    assert "nothing is known of nobody: these are popular items" in outcome.err
    (pop,) = saved.glob("Pop-*")
    assert gaterec("recommend", pop, "--users=u1", "-k", 2, "--why").out.count(": because many choose it (100%)") == 2
    assert "User with this history" in gaterec("recommend", saved, "--history=i1,i2", "-k", 2, "--why").out


def test_everybody_goes_to_a_folder_that_is_written_whole(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaterec.cli.recommend.USERS_PER_FILE", 15)
    for _ in range(2):  # its own files may be written again
        assert gaterec("recommend", saved, "--users=all", "-k", 4, f"--out={tmp_path / 'lists'}").code == 0
    assert len(list((tmp_path / "lists").iterdir())) == 3
    frame = pl.read_parquet(tmp_path / "lists" / "*.parquet")
    assert frame["user"].n_unique() == 40
    assert len(frame) == 160
    outcome = gaterec("recommend", saved, "--users=u1", "-k", 1, f"--out={tmp_path / 'one'}")
    assert outcome.out.replace("\n", "") == f"1 user, at most 1 item each: {tmp_path / 'one'}/*.parquet"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    outcome = gaterec("recommend", saved, "--users=all", f"--out={tmp_path / 'mine'}")
    assert outcome.code == 2
    assert outcome.err.startswith(f"gaterec: out: {tmp_path / 'mine'}: expected a new folder, or one of such lists, found letter.txt in it")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    saved = train(tmp_path, epochs=0, show_progress=False)
    one = gaterec("recommend", saved, "--users=stranger", "--where=year=1997")
    assert (one.code, one.out.count("Film 7")) == (0, 1)
    several = gaterec("recommend", saved, "--users=stranger", "--where=year=1997", "--where=year=1998.0", "--where=kind=sad")
    assert (several.out.count("Film 7"), several.out.count("Film 8"), several.out.count("stranger ")) == (1, 1, 2)
    none = gaterec("recommend", saved, "--users=u1,stranger", "--where=year=1997.5")
    assert (none.code, none.out.count("Film")) == (0, 0)
    assert "note: where: year: no item has '1997.5'; the nearest values are 1997 and 1998\n" in none.err
    assert "note: no item is left to recommend to users 'u1', 'stranger': all are in the history, denied" in none.err
    written = gaterec("recommend", saved, "--users=all", "--where=year=1997.5", "--deny=NEW1", f"--out={tmp_path / 'lists'}")
    assert "note: where: year: no item has '1997.5'" in written.err
    assert "note: deny: left out item 'NEW1', which the run does not know" in written.err
    new = gaterec("recommend", saved, "--users=visitor", "--history=i3,NEW1", "-k1")
    assert (new.code, new.out.count("visitor ")) == (0, 1)
    assert new.err == "note: user 'visitor': the run does not know item 'NEW1' of the history, which is left out\n"
    nothing = gaterec("recommend", saved, "--history=NEW1", "-k1", "--why")
    assert "nothing of the history is left, so the user is treated as one without a history\n" in nothing.err
    assert "note: nothing is known of the user: these are popular items\n" in nothing.err
    why = gaterec("explain", saved, "--history=i3,NEW1", "--item=i7")
    assert (why.code, why.err) == (0, "note: history: the run does not know item 'NEW1' of the history, which is left out\n")
    assert gaterec("explain", saved, "--user=u1", "--item=NEW1").err == (
        "gaterec: item 'NEW1': the run knows no such item; train again on a log that has it\n"
    )
    lost = gaterec("recommend", saved, "--users=u1", "--history=i3", f"--out={tmp_path / 'lists'}")
    assert lost.err == "gaterec: history: --out takes the histories of the log alone; leave --history or --out out\n"


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "parquet"])
def test_ids_come_from_a_file(saved: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"people.{kind}"
    frame = pl.DataFrame({"who": ["u1", "u2", "7"], "age": [1, 2, 3]})
    if kind == "txt":
        file.write_text("u1\n\nu2 \n7\n")
    elif kind == "parquet":
        frame.write_parquet(file)
    else:
        frame.write_csv(file, separator="," if kind == "csv" else "\t")
    assert gaterec("recommend", saved, f"--users=@{file}", "-k", 2, f"--out={tmp_path / 'lists'}").code == 0
    assert pl.read_parquet(tmp_path / "lists" / "*.parquet")["user"].to_list() == ["u1", "u1", "u2", "u2", "7", "7"]
    assert gaterec("recommend", saved, f"--users=@{file}", "-k", 2).out.count("u1 ") == 2


def test_diversity_changes_a_list(saved: Path) -> None:
    plain, same, diverse = (gaterec("recommend", saved, "--users=u1", f"--diversity={value}").out for value in (0, 0.0, 1))
    assert plain == same != diverse


def test_every_part_of_a_score_is_shown(saved: Path) -> None:
    outcome = gaterec("explain", saved, "--user=u1", "--item=i3")
    assert outcome.code == 0
    assert "(exact sum)" in outcome.out
    assert "lasting taste" in outcome.out
    assert "In words: " in outcome.out
    assert "(leave-one-event-out)" in gaterec("explain", next(saved.glob("ItemKNN-*")), "--user=u1", "--item=i3").out


def test_files_of_ids_without_a_header_and_with_quotes(saved: Path, tmp_path: Path) -> None:
    for name, content, users in (("a.csv", "u1,x\nu2,y\n", ["u1", "u2"]), ("b.tsv", 'id\n"u9\nu1\n', ['"u9', "u1"])):
        (tmp_path / name).write_text(content)
        found = gaterec("recommend", saved, f"--users=@{tmp_path / name}", "-k", 1)
        assert found.code == 0
        assert [line.split("│")[1].strip() for line in found.out.splitlines() if line.startswith("│")] == users


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("html", b"<!DOCTYPE html>"), ("json", b"{")])
def test_an_explanation_goes_to_a_file(saved: Path, tmp_path: Path, form: str, begins: bytes) -> None:
    outcome = gaterec("explain", saved, "--user=u1", "--item=i3", f"--out={tmp_path / f'why.{form}'}")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.replace("\n", "").startswith(f"{tmp_path / f'why.{form}'}: why i3 for u1, score ")
    assert (tmp_path / f"why.{form}").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["recommend", "SAVED"],
            "recommend: for whom? give --users=ID,ID or --users=all, or --history=ITEM,ITEM for somebody without an id",
        ),
        (["recommend", "SAVED", "--users=u1,u2", "--history=i1"], "history: belongs to one user, found 2"),
        (["recommend", "SAVED", "--users=u1", "--where=kind"], "where: expected COLUMN=VALUE, found 'kind'"),
        (["recommend", "SAVED", "--users=u1", "--why", "--out=x"], "why: reasons are for the screen; leave --out or --why out"),
        (["recommend", "SAVED", "--users=u1", "--diversity=2"], "diversity: expected a number from 0 to 1, found 2.0"),
        (["recommend", "SAVED", "--users=@nowhere.csv"], "users: nowhere.csv: can't be read: No such file or directory\n"),
        (["recommend", "SAVED", "--users=@nowhere.parquet"], "users: nowhere.parquet: can't be read: No such file or directory\n"),
        (["recommend", "SAVED", "--users=@nowhere"], "users: nowhere: can't be read: No such file or directory\n"),
        (["recommend", "SAVED", "--users="], "users: expected ids, found none; give --users=ID,ID or --users=all"),
        (["recommend", "SAVED", "--users=@/dev/null"], "users: /dev/null: can't be read: expected a regular file, found a device"),
        (["recommend", "SAVED", "--users=u1", "--allow="], "allow: expected item ids, found none; leave it out where all items may come"),
        (["recommend", "SAVED", "--users=x", "--strict"], "user 'x': the run knows no such user"),
        (["recommend", "nowhere", "--users=x"], "nowhere: expected a run folder, or a folder of them, found no such folder"),
        (["explain", "SAVED", "--item=i1"], "explain: for whom? give --user=ID, or --history=ITEM,ITEM for somebody without an id"),
        (["explain", "SAVED", "--item=i1", "--user=x"], "user 'x': nothing is known of this person, so popular items are recommended, "),
        (
            ["explain", "SAVED", "--item=i1", "--user=u1", "--out=why.gif"],
            "out: expected a name that ends in .svg, .png, .html, .json; found 'why.gif'",
        ),
        (["explain", "SAVED", "--item=cheese", "--user=u1"], "item 'cheese': the run knows no such item"),
    ],
)
def test_bad_input_is_told_in_one_line(saved: Path, arguments: list[str], told: str) -> None:
    outcome = gaterec(*[saved if word == "SAVED" else word for word in arguments])
    assert outcome.code == 2
    assert outcome.err.startswith(f"gaterec: {told}")
    assert outcome.err.count("\n") == 1
