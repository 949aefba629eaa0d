"""Files and folders written whole or not at all, and damage that is noticed."""

import errno
import io
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gaterec.errors import RunError
from gaterec.io.files import (
    _footer,
    check_output,
    check_writable,
    digest_of,
    folder_written_whole,
    in_the_way,
    leftovers,
    only_one,
    read_table,
    read_tensors,
    sweep,
    unfinished,
    write_table,
    write_tensors,
    write_whole,
)

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).view(2, 3),
    "count": torch.tensor(7),
    "double": torch.tensor([1e-300, torch.pi], dtype=torch.float64),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 4),
    "view": torch.arange(12).view(3, 4).T,
}
ABOUT = {"epoch": 3, "text": "é “q”\n", "loss": 0.1 + 0.2, "nothing": None}


def names(folder: Path) -> list[str]:
    """All that is in a folder, hidden files too."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


def full_disk(part: Path) -> None:
    """Writes a while, and then there is no space left."""
    part.write_bytes(b"half of")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))


def run(code: str, *arguments: object) -> str:
    """The output of a Python program in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


# One file


def test_a_file_is_written_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "x.txt"
    write_whole(file, lambda part: part.write_text("one"))
    assert file.read_text() == "one"
    write_whole(file, lambda part: part.write_text("two"))
    assert file.read_text() == "two"
    assert names(tmp_path) == ["new", "new/folder", "new/folder/x.txt"]


def test_until_it_is_whole_the_old_file_stands_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")
    seen: list[str] = []

    def write(part: Path) -> None:
        part.write_text("ne")
        seen.append(file.read_text())
        part.write_text("new")

    write_whole(file, write)
    assert (seen, file.read_text()) == (["old"], "new")


def test_who_is_reading_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")
    with file.open() as reader:
        write_whole(file, lambda part: part.write_text("new and longer"))
        assert reader.read() == "old"


@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_partial(tmp_path: Path, old: bool) -> None:
    file = tmp_path / "x.txt"
    if old:
        file.write_text("old")
    with pytest.raises(RunError, match=r"x\.txt: can't be written: No space left on device$"):
        write_whole(file, full_disk)
    assert names(tmp_path) == (["x.txt"] if old else [])
    assert not old or file.read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_any_other_failure_passes_and_leaves_nothing_partial(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "x.txt"
    file.write_text("old")

    def write(part: Path) -> None:
        part.write_text("ne")
        raise error

    with pytest.raises(error):
        write_whole(file, write)
    assert names(tmp_path) == ["x.txt"]
    assert file.read_text() == "old"


def test_a_writer_that_writes_nothing_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"x\.txt: can't be written"):
        write_whole(tmp_path / "x.txt", lambda part: None)
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(RunError, match="can't be written: there is a file where a folder should be"):
        write_whole(tmp_path / "file" / "x.txt", lambda part: part.write_text("one"))
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(("kind", "found"), [("pipe", "a named pipe"), ("folder", "a folder"), ("socket", "a socket")])
def test_a_file_takes_the_place_of_nothing_but_a_regular_file(tmp_path: Path, kind: str, found: str, linked: bool) -> None:
    """A superuser who writes to /dev/null or /dev/stdout would put a file in its place, for all programs of the machine."""
    place = tmp_path / "place"
    with socket.socket(socket.AF_UNIX) as listener:
        {"pipe": os.mkfifo, "folder": os.mkdir, "socket": lambda path: listener.bind(str(path))}[kind](place)
    before = place.stat()
    target = tmp_path / "link" if linked else place
    if linked:
        target.symlink_to(place)
    expected = f"{re.escape(str(target))}: can't be written: expected a regular file, found {found}"
    with pytest.raises(RunError, match=f"^{expected}$"):
        write_whole(target, lambda part: part.write_text("x"))
    with pytest.raises(RunError, match=f"^output_file: {expected}$"):
        check_output(target, "output_file")
    assert (place.stat().st_ino, place.stat().st_mode) == (before.st_ino, before.st_mode)
    assert names(tmp_path) == (["link", "place"] if linked else ["place"])


def test_a_file_takes_the_place_of_a_link_and_not_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loose").symlink_to(tmp_path / "nowhere")
    for name in ("link", "loose"):
        check_output(tmp_path / name, "out")
        write_whole(tmp_path / name, lambda part: part.write_text("new"))
        assert (tmp_path / name).read_text() == "new"
    assert (tmp_path / "file").read_text() == "old"


LIMITED = """
import resource, sys, torch
from pathlib import Path
from gaterec.errors import RunError
from gaterec.io.files import read_tensors, write_tensors
file = Path(sys.argv[1])
write_tensors(file, {"x": torch.ones(10)}, {"epoch": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    write_tensors(file, {"x": torch.ones(1_000_000)}, {"epoch": 2})
except RunError as error:
    print(error)
print(read_tensors(file)[1], sorted(path.name for path in file.parent.iterdir()))
"""


def test_tensors_that_really_find_no_room_leave_the_old_ones(tmp_path: Path) -> None:
    error, kept = run(LIMITED, tmp_path / "state.safetensors").splitlines()
    assert "state.safetensors: can't be written: " in error
    assert kept == "{'epoch': 1} ['state.safetensors']"


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(tmp_path / "runs")
    assert names(tmp_path) == ["runs"]


def test_check_writable_says_so_at_once(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match=f"{tmp_path / 'runs'}"):
        check_writable(tmp_path / "runs")


# A folder


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_a_folder_is_kept_for_one_process_until_that_ends(tmp_path: Path) -> None:
    folder = tmp_path / "of" / "one"
    keep = "import sys, time; from gaterec.io.files import only_one\nwith only_one(__import__('pathlib').Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", keep, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(RunError, match="another process is writing there"), only_one(folder):
            pass
        process.kill()
    with only_one(folder):
        assert not list(folder.iterdir())


def test_a_folder_takes_its_place_when_all_went_well(tmp_path: Path) -> None:
    run_folder = tmp_path / "runs" / "one"
    for text in ("first", "second"):
        with folder_written_whole(run_folder) as part:
            assert part != run_folder
            assert not run_folder.exists() or text == "second"
            (part / "sub").mkdir()
            (part / "sub" / "x.txt").write_text(text)
            (part / text).touch()
        assert names(tmp_path) == ["runs", "runs/one", f"runs/one/{text}", "runs/one/sub", "runs/one/sub/x.txt"]
        assert (run_folder / "sub" / "x.txt").read_text() == text


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RunError("weights: can't be written"), KeyboardInterrupt()]
)
def test_a_failure_leaves_the_old_folder_and_nothing_partial(tmp_path: Path, error: BaseException, old: bool) -> None:
    folder = tmp_path / "one"
    if old:
        folder.mkdir()
        (folder / "x.txt").write_text("old")
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else RunError

    def fill() -> None:
        with folder_written_whole(folder) as part:
            (part / "x.txt").write_text("new")
            raise error

    with pytest.raises(expected) as found:
        fill()
    assert names(tmp_path) == (["one", "one/x.txt"] if old else [])
    assert not old or (folder / "x.txt").read_text() == "old"
    if isinstance(error, OSError):
        assert str(found.value) == f"{folder}: can't be written: No space left on device"


def test_the_old_folder_comes_back_when_the_new_one_can_not_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "x.txt").write_text("old")
    rename = Path.rename

    def refuse_the_new(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(RunError, match="Input/output error"), folder_written_whole(folder) as part:
        (part / "x.txt").write_text("new")
    assert names(tmp_path) == ["one", "one/x.txt"]
    assert (folder / "x.txt").read_text() == "old"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    (tmp_path / "link").symlink_to("target")
    with folder_written_whole(tmp_path / "link") as part:
        (part / "new").touch()
    assert names(tmp_path) == ["link", "target", "target/new"]
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "file").write_text("dear")
    (tmp_path / "letter").symlink_to("file")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("file", "letter", "circle"):
        with (
            pytest.raises(RunError, match=f"{name}: can't be written: there is a file where a folder"),
            folder_written_whole(tmp_path / name),
        ):
            pass
    assert (tmp_path / "letter").read_text() == "dear"
    assert names(tmp_path) == ["circle", "file", "letter", "link", "target", "target/new"]


@pytest.mark.parametrize("name", [".", "../here", ""])
def test_the_folder_that_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "beside").touch()
    monkeypatch.chdir(tmp_path / "here")
    with folder_written_whole(Path(name)) as part:
        (part / "new").touch()
    assert names(tmp_path) == ["beside", "here", "here/new"]


def test_the_root_is_not_written() -> None:
    with pytest.raises(RunError, match=r"^/: can't be written"), folder_written_whole(Path("/")):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_whenever_it_is_stopped_the_old_folder_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "x.txt").write_text("old")
    rename = Path.rename

    def stopped_half_way(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            if error is OSError:
                Path(target).mkdir()  # somebody else's, just now
            raise error(errno.ENOTEMPTY, "Directory not empty")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopped_half_way)
    with pytest.raises((KeyboardInterrupt, RunError)), folder_written_whole(tmp_path / "one"):
        pass
    (kept,) = tmp_path.rglob("x.txt")
    assert kept.read_text() == "old"
    assert (kept.parent.name == "one") == (error is KeyboardInterrupt)


def test_what_stands_in_the_way_of_a_folder(tmp_path: Path) -> None:
    def found(name: str) -> str | None:
        return in_the_way(tmp_path / name, lambda names: names & {"a", "b"})

    assert found("new") is None
    (tmp_path / "folder").mkdir()
    assert found("folder") is None
    (tmp_path / "folder" / "a").touch()
    assert found("folder") is None
    (tmp_path / "folder" / "b").mkdir()  # a folder of this name is none of ours
    (tmp_path / "folder" / "c").touch()
    assert found("folder") == "b in it"
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert found("file") == found("link") == "a file"


# Tensors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "x.safetensors"
    write_tensors(file, TENSORS, ABOUT)
    return file


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == TENSORS.keys() and all(
        value.dtype == TENSORS[name].dtype and torch.equal(value, TENSORS[name]) for name, value in found.items()
    )


def test_tensors_and_the_note_come_back_to_the_bit(saved: Path) -> None:
    tensors, about = read_tensors(saved)
    assert same(tensors)
    assert about == ABOUT


def test_parameters_and_not_numbers_come_back_too(tmp_path: Path) -> None:
    odd = torch.tensor([torch.nan, torch.inf, -0.0])
    write_tensors(tmp_path / "x", {"parameter": torch.nn.Parameter(odd)}, {})
    found = read_tensors(tmp_path / "x")[0]["parameter"]
    assert torch.equal(found.view(torch.int32), odd.view(torch.int32))


def test_no_tensors_at_all(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x", {}, {"empty": True})
    assert read_tensors(tmp_path / "x") == ({}, {"empty": True})


def test_equal_tensors_make_equal_files(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_tensors(other, dict(reversed(TENSORS.items())), dict(reversed(ABOUT.items())))
    assert other.read_bytes() == saved.read_bytes()


def test_a_file_cut_short_anywhere_is_an_error(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), 5), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"x\.safetensors: "):
            read_tensors(saved)


def test_a_flipped_bit_anywhere_is_noticed(saved: Path) -> None:
    """What is read is an error, or (where a blank of the header became another blank) the very same tensors."""
    whole, errors = saved.read_bytes(), []
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        saved.write_bytes(changed)
        try:
            tensors, about = read_tensors(saved)
        except RunError as error:
            errors.append(str(error))
        else:
            assert same(tensors)
            assert about == ABOUT
    assert len(errors) > len(whole) - 10
    assert not any("\n" in error for error in errors)


@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"\0" * 100, b"\xff" * 100, b"\x08" + b"\0" * 7 + b"[[[[[[[["])
def test_garbage_is_an_error_in_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(RunError, match="can't be read: ") as found:
        read_tensors(file)
    assert "\n" not in str(found.value)


def test_tensors_without_a_digest_are_an_error(tmp_path: Path) -> None:
    save_file({"x": torch.ones(3)}, tmp_path / "x")
    with pytest.raises(RunError, match="is corrupt"):
        read_tensors(tmp_path / "x")


def test_no_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(RunError, match="can't be read: "):
            read_tensors(path)


def test_what_is_written_over_a_file_changes_no_tensors_that_were_read(saved: Path) -> None:
    tensors, _ = read_tensors(saved)
    size = saved.stat().st_size
    with saved.open("rb+") as file:
        file.write(b"\xff" * size)
    os.truncate(saved, 0)  # of a mapped file, the next look at a tensor would end the process
    assert same(tensors)


def test_shapes_and_the_size_are_checked_before_a_file_of_tensors_is_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(shapes: Any) -> None:
        assert shapes == {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
        raise RunError("not these")

    monkeypatch.setattr("gaterec.io.files.read_all", lambda file: pytest.fail("was read"))
    with pytest.raises(RunError, match="not these"):
        read_tensors(saved, refuse)
    os.truncate(saved, 10**12)  # a hole: nothing on the disk, and more than fits into memory
    with pytest.raises(RunError, match=r"can't be read: expected [\d,]+ bytes by its header, found 1,000,000,000,000"):
        read_tensors(saved)


def test_tensors_of_another_digest_are_told_from_damaged_ones(saved: Path, tmp_path: Path) -> None:
    assert same(read_tensors(saved, digest=digest_of(saved))[0])
    write_tensors(tmp_path / "other", TENSORS, {"another": "note"})
    with pytest.raises(RunError, match="is of another run than the files beside it"):
        read_tensors(tmp_path / "other", digest=digest_of(saved))


# Tables

TABLE = pl.DataFrame({"id": ["a", "b", None], "title": ["x" * 100, "", "é"], "number": [1.5, None, 2.0], "list": [["a"], [], None]})
LITERAL = ["[v1]", "a?b", "*", "**", "~", "~root", "file:", "file:/x", "{a,b}", "s3:", "hf:", "%20", "x y", "#", "\n"]
"""Names that a shell, Polars or an address would take for something else."""


@pytest.mark.parametrize("name", LITERAL)
@pytest.mark.parametrize("relative", [True, False])
def test_a_path_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, relative: bool) -> None:
    monkeypatch.chdir(tmp_path)
    for decoy in ("v", "1", "axb", "a", "b"):  # what these names match as patterns
        Path(decoy).mkdir()
        TABLE.head(1).write_parquet(Path(decoy) / "x.parquet")
    folder = Path(name) if relative else tmp_path / name
    folder.mkdir(parents=True)
    write_table(TABLE, folder / "x.parquet")
    write_tensors(folder / "x.safetensors", TENSORS, ABOUT)
    assert (tmp_path / name / "x.parquet").is_file()
    assert read_table(folder / "x.parquet").equals(TABLE)
    assert same(read_tensors(folder / "x.safetensors")[0])


def test_rows_are_counted_before_a_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(TABLE, tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet", 3, columns=[2]).equals(TABLE.select("number"))
    monkeypatch.setattr("gaterec.io.files.pl.read_parquet", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(ValueError, match=r"^x\.parquet: expected 4 rows, found 3$"):
        read_table(tmp_path / "x.parquet", 4)


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"id": pl.repeat(0, 9_000_000, eager=True)}),  # equal rows, which take no room in a file
        pl.DataFrame({"title": ["x" * 70_000_000]}),  # a long text that packs well
        pl.DataFrame({"title": ["x" * 1_000_000]}).select(
            pl.col("title").repeat_by(100).explode()
        ),  # one text that is there once, in many rows
    ],
    ids=["rows", "a long text", "one text often"],
)
def test_a_small_file_that_unpacks_to_a_large_table_is_refused(tmp_path: Path, table: pl.DataFrame) -> None:
    write_table(table, tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"^x\.parquet: expected a file of [\d,]+ bytes to unpack to at most 67,108,864, found "):
        read_table(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 2}, {"compression": "uncompressed"}, {"compression": "snappy", "statistics": "full"}]
)
def test_the_footer_of_a_table_says_how_large_it_is(tmp_path: Path, options: dict[str, Any]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    stream = io.BytesIO()
    TABLE.write_parquet(stream, **options)
    about = parquet.read_metadata(stream)
    size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    assert _footer(stream.getvalue()) == (3, size)
    stream = io.BytesIO()
    parquet.write_table(TABLE.to_arrow(), stream)  # another writer
    assert _footer(stream.getvalue())[0] == 3


def test_a_damaged_table_is_an_error_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    write_table(TABLE, file)
    whole = file.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 23)]
    damaged += [whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :] for at in range(0, len(whole), 11)]
    damaged += [
        b"PAR1" + body + len(body).to_bytes(4, "little") + b"PAR1" for body in (b"\x19" * 50, b"\xff" * 50, b"\x1c" * 5000, b"\x00")
    ]
    errors = []
    for content in damaged:
        file.write_bytes(content)
        try:
            read_table(file)
        except ValueError as error:
            errors.append(str(error))
    assert len(errors) > len(damaged) / 2
    assert not any("\n" in error for error in errors)


# What a killed process leaves

FILLING = """
import sys, time
from pathlib import Path
from gaterec.io.files import folder_written_whole
with folder_written_whole(Path(sys.argv[1])) as part:
    (part / "x.txt").write_text("half")
    print(flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    folder, other = tmp_path / "one", tmp_path / "other"
    with subprocess.Popen([sys.executable, "-c", FILLING, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            (part,) = tmp_path.iterdir()
            assert unfinished(part)
            assert (leftovers(tmp_path), sweep(tmp_path)) == ([], [])
            with folder_written_whole(folder) as own:  # several may make one folder
                (own / "x.txt").write_text("mine")
            assert part in tmp_path.iterdir()
        finally:
            process.kill()
    assert leftovers(tmp_path) == [part]
    assert leftovers(tmp_path, "other") == []
    with folder_written_whole(other):  # which sweeps what was left of its own alone
        pass
    assert part.exists()
    assert sweep(tmp_path) == [f"{part}: was left by a process that was stopped; removed"]
    assert names(tmp_path) == ["one", "one/x.txt", "other"]
    part.mkdir()
    with folder_written_whole(folder):
        pass
    assert names(tmp_path) == ["one", "other"]


def test_between_the_two_renames_of_a_living_process_nothing_is_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, rename = [], Path.rename

    def looked_at(self: Path, target: Path) -> Path:
        seen.append((self.name.split(".")[-1], leftovers(tmp_path), sweep(tmp_path)))
        return rename(self, target)

    for _ in range(2):
        with folder_written_whole(tmp_path / "one"):
            monkeypatch.setattr(Path, "rename", looked_at)
    assert seen == [("part", [], []), ("one", [], []), ("part", [], [])]


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("stands", [True, False])
def test_a_process_that_was_killed_between_two_renames_loses_nothing(tmp_path: Path, new: bool, stands: bool) -> None:
    part, old = tmp_path / ".one.0123abcd.part", tmp_path / ".one.0123abcd.old"
    for folder in (old, *([part] if new else []), *([tmp_path / "one"] if stands else [])):
        folder.mkdir()
        (folder / "x.txt").write_text(folder.name)
    lines = sweep(tmp_path)
    source = part if new else old
    assert names(tmp_path) == ["one", "one/x.txt"]
    assert (tmp_path / "one" / "x.txt").read_text() == ("one" if stands else source.name)
    assert stands or lines == [f"{tmp_path / 'one'}: was put back from {source.name}, which a process that was stopped left"]


def test_what_has_another_name_or_was_just_written_is_left_alone(tmp_path: Path) -> None:
    kept = [".x.part", "x.0123abcd.part", ".x.0123abcd.parts", ".x.0123ABCD.old", ".fresh.0123abcd.part", "link"]
    for name in kept[:-1]:
        (tmp_path / name).write_text("dear")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / ".link.0123abcd.part").symlink_to(tmp_path)
    stale = tmp_path / ".stale.0123abcd.part"
    stale.write_text("half")
    os.utime(stale, (1, 1))
    assert sweep(tmp_path) == [f"{stale}: was left by a process that was stopped; removed"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*kept, ".link.0123abcd.part"])


# On the disk


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What is flushed and renamed, in order, by the numbers that the file system has for it."""
    found: list[tuple[str, int]] = []

    def told(word: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(what: Any, *more: Any) -> Any:
            found.append((word, (os.fstat(what) if isinstance(what, int) else what.stat()).st_ino))
            return act(what, *more)

        return acting

    monkeypatch.setattr("os.fsync", told("flush", os.fsync))
    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, told("move", getattr(Path, name)))
    return found


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, order: list[tuple[str, int]]) -> None:
    write_whole(tmp_path / "x.txt", lambda part: part.write_text("one"))
    number = (tmp_path / "x.txt").stat().st_ino
    assert order == [("flush", number), ("move", number)]


def test_a_folder_is_on_the_disk_with_all_files_before_it_takes_its_place(tmp_path: Path, order: list[tuple[str, int]]) -> None:
    folder = tmp_path / "one"
    with folder_written_whole(folder) as part:
        (part / "sub").mkdir()
        (part / "sub" / "x.txt").write_text("one")
        (part / "y.txt").write_text("two")
        assert order == []
    of = {name: (folder / name).stat().st_ino for name in ("", "sub", "sub/x.txt", "y.txt")}
    assert [*order[:-2]] == [("flush", of[name]) for name in ("sub", "sub/x.txt", "y.txt", "")]
    assert order[-2:] == [("move", of[""]), ("flush", tmp_path.stat().st_ino)]


def test_the_old_folder_stands_whole_in_its_place_while_the_new_one_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    for text in ("old", "new"):
        with folder_written_whole(folder) as part:
            (part / "x.txt").write_text(text)
            assert names(folder) == ([] if text == "old" else ["x.txt"])
            assert text == "old" or (folder / "x.txt").read_text() == "old"


# Names that no file can have

LONG = "x" * 300


@pytest.mark.parametrize("name", ["a\0b", "\ud800", LONG, "file/x"])
def test_a_place_that_can_not_be_is_told_in_one_line_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("dear")
    place = tmp_path / name

    def folder() -> None:
        with folder_written_whole(place):
            pytest.fail("was made")

    def one() -> None:
        with only_one(place):
            pytest.fail("was made")

    attempts: list[Callable[[], None]] = [
        lambda: write_whole(place, Path.touch),
        folder,
        one,
        lambda: check_writable(place),
        lambda: check_output(place, "out"),
    ]
    for attempt in attempts:
        with pytest.raises(RunError, match="can't be written: ") as refused:
            attempt()
        assert "\n" not in str(refused.value)
    assert names(tmp_path) == ["file"]
