"""Folders, profiles and definitions of somebody who means harm: refused, before it is done."""

import hashlib
import io
import json
import os
import pickle
import shutil
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest
import xarray as xr

import jaxnigt as jn
from jaxnigt import files
from jaxnigt.sweep import definition, plan, store
from jaxnigt.training.snapshots import Identity
from tests.sweep.running import here, same

TINY = """
name = "tiny"
workers = 2
figure = true
problem = { kind = "tabular", horizon = 2 }
training = { seeds = 1, eval_every = 2, eval_batch = 2 }
methods = [{ name = "rennala_nigt", batch = 2, iterations = 4, stepsize = 0.1 }]
profiles = [{ label = "equal", family = "equal" }]
"""
MANY = 10**12
HOSTILE_ROOM = 200 * 2**20
"""Bytes that reading something hostile may take: less than a tenth of what it asks for."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A definition's file and the folder of its sweep."""
    place = tmp_path_factory.mktemp("malice")
    (place / "tiny.toml").write_text(TINY)
    jn.sweep.run(place / "tiny.toml", place / "out", draw=None)
    return place


@pytest.fixture
def out(swept, tmp_path):
    """A copy of the folder, in which to do harm."""
    shutil.copytree(swept / "out", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def modest():
    """That a test takes little memory."""
    tracemalloc.start()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < HOSTILE_ROOM


class Trap:
    """What makes a file when a pickle of it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def unit_of(out):
    return next((out / "units").glob("*.nc"))


def forge(path, content):
    """A file with a checksum that fits."""
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")


def netcdf(write):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def virtual(file):
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource("other.nc", "x", (4,))
    file.create_virtual_dataset("x", layout)


def loop(file):
    file.create_group("a")["b"] = file["/"]


def deep(file):
    for _ in range(1000):
        file = file.create_group("a")


def sparse(file, **options):
    """Numbers that nobody has written: they take no room in the file."""
    file.create_dataset("round", (MANY,), chunks=(1000,), **options).make_scale()


HDF5 = {
    "sparse": (lambda file: sparse(file, dtype="i8", compression="gzip"), "at most .* are allowed"),
    "long": (lambda file: file.create_dataset("x", (10**6, 10**6), "f8"), "at most .* are allowed"),
    "parts": (
        lambda file: [file.create_dataset(f"x{i}", (MANY // 100,), "f4") for i in range(100)],
        "at most .* are allowed",
    ),
    "words": (
        lambda file: file.create_dataset("x", (10**8,), h5py.string_dtype(), fillvalue="a" * 10_000),
        "x claims to hold more than it does",
    ),
    "outside": (
        lambda file: file.create_dataset("x", (9,), "u1", external=[("/etc/passwd", 0, 9)]),
        "x is in another file",
    ),
    "virtual": (virtual, "x is in another file"),
    "link": (lambda file: file.__setitem__("x", h5py.SoftLink("/")), "x is a link"),
    "file": (lambda file: file.__setitem__("x", h5py.ExternalLink("other.nc", "/")), "x is a link"),
    "loop": (loop, "hold one another"),
    "deep": (deep, "hold one another, or too many levels"),
}


@pytest.mark.parametrize(("write", "words"), HDF5.values(), ids=HDF5)
def test_a_data_set_that_claims_or_links_is_refused_unread(write, words, out, modest):
    content = netcdf(write)
    (out / "results.nc").write_bytes(content)
    with pytest.raises(jn.InputError, match=rf"results\.nc cannot be read \(.*{words}"):
        jn.load(out)
    with pytest.raises(jn.InputError, match=rf"results\.nc cannot be read \(.*{words}"):
        jn.Trace.load(out / "results.nc")
    forge(unit_of(out), content)
    with pytest.raises(store.Damaged, match=words):
        store.read(unit_of(out))


def empty(file):
    file.attrs["hyperparameters"] = ["stepsize"]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (HDF5["sparse"][0], "it would take 8,000,000,000,000 bytes, at most"),
        (empty, "it does not hold what this unit trains"),
    ],
)
def test_a_hostile_unit_is_computed_again(write, words, out, swept, capsys, monkeypatch):
    forge(unit_of(out), netcdf(write))
    status, output = here(capsys, monkeypatch, "sweep", swept / "tiny.toml", "--out", out)
    assert status == 0, output
    assert f"is damaged, {words}" in output
    assert same(swept / "out", out)


def test_pickles_are_not_read(out, tmp_path, caplog):
    ran = tmp_path / "ran"
    content = pickle.dumps(Trap(ran))
    (out / "results.nc").write_bytes(content)
    with pytest.raises(jn.InputError, match="cannot be read"):
        jn.load(out)
    with pytest.raises(jn.InputError, match="cannot be read"):
        jn.Trace.load(out / "results.nc")
    forge(unit_of(out), content)
    with pytest.raises(store.Damaged, match="cannot be read"):
        store.read(unit_of(out))
    identity, folder = Identity("this", np.zeros(1)), tmp_path / "snapshots"
    folder.mkdir()
    known = {"token": identity.saved_words(), "computed": identity.computed}
    array = np.array([Trap(ran)], dtype=object)
    np.savez(folder / "round_7.npz", **known, **{"state.0": array}, allow_pickle=True)
    (folder / "round_8.npz").write_bytes(content)
    assert jn.Snapshots(folder).restore({"x": np.zeros(1)}, identity) is None
    assert caplog.text.count("is of no use") == 2
    assert not ran.exists()


@pytest.mark.parametrize(
    "attrs",
    [
        {"method_collection": "[" * 30_000},
        {"method_collection": "[]"},
        {"method_collection": '{"rule": {"name": "os.system"}, "weights": "mean", "restart": "cancel"}'},
        {"method_collection": '{"rule": {"name": "rennala"}, "weights": "eval", "restart": "cancel"}'},
        {"training_seconds": "__import__"},
    ],
)
def test_a_trace_of_somebody_else_is_refused_in_a_sentence(attrs, tmp_path):
    trace = jn.train(jn.problems.tabular(horizon=2), jn.methods.rennala_nigt(2), iterations=2)
    path = trace.save(tmp_path / "trace.nc")
    with h5py.File(path, "a") as file:
        for name, value in attrs.items():
            file.attrs[name] = value
    with pytest.raises(jn.InputError, match=r"cannot be read|allowed are|have no registered name"):
        jn.Trace.load(path)


def claiming(path):
    """An array of which the header says that it is large."""
    content = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (MANY,)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("token.npy", content.getvalue())


def compressed(path):
    np.savez_compressed(path, token=np.zeros(10**8, np.uint8))


def overlapping(path):
    """A thousand entries that share their bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        np.lib.format.write_array(file := io.BytesIO(), np.zeros(10**6, np.uint8))
        archive.writestr("token.npy", file.getvalue())
        for i in range(1000):
            twin = zipfile.ZipInfo(f"x{i}.npy")
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(twin, name, getattr(archive.infolist()[0], name))
            archive.filelist.append(twin)


def sparse_file(path):
    path.touch()
    os.truncate(path, MANY)


@pytest.mark.parametrize("write", [claiming, compressed, overlapping, sparse_file])
def test_a_snapshot_that_claims_more_than_it_holds_is_refused_unread(write, tmp_path, modest):
    write(tmp_path / "round_7.npz")
    with pytest.raises(files.Damaged, match=r"it claims to hold more than it does|at most"):
        files.load_arrays(tmp_path / "round_7.npz")


BAD_PLANS = {
    "long": "[" + " " * 70_000_000 + "]",
    "deep": "[" * 100_000,
    "digits": "9" * 100_000,
    "list": "[]",
    "outside": '{"definition": {"name": "a"}, "units": [{"key": "../../../etc/passwd", "file": "a.nc", '
    '"label": "a", "runs": 1, "iterations": 1}]}',
    "empty unit": '{"definition": {"name": "a"}, "units": [{}]}',
}


@pytest.mark.parametrize("text", BAD_PLANS.values(), ids=BAD_PLANS)
def test_a_plan_that_is_none_is_refused(text, out, swept, capsys, monkeypatch):
    (out / "plan.json").write_text(text)
    status, output = here(capsys, monkeypatch, "status", out)
    assert status == 2
    assert output.startswith(f"error: folder: {out}/plan.json cannot be read")
    assert output.count("\n") == 1
    assert store.budget(out) is None


@pytest.mark.parametrize("memory", ["1e30", str(10**30), "1e999", "[]", "-1", "0", "4095"])
def test_a_plan_does_not_say_how_much_memory_there_is_where_that_cannot_be(memory, out):
    (out / "plan.json").write_text(f'{{"memory": {memory}}}')
    assert store.budget(out) is None


@pytest.mark.parametrize(
    "name", ["units", "snapshots", "snapshots/KEY", "failures", "logs", "tensorboard"]
)
def test_folders_that_lead_out_are_refused(name, out, swept, tmp_path, capsys, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "round_7.npz").write_text("of somebody else")
    key = unit_of(out).stem[-16:]
    link = out / name.replace("KEY", key)
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    status, output = here(capsys, monkeypatch, "sweep", swept / "tiny.toml", "--out", out, "--fresh")
    assert status == 2
    assert output == (
        f"error: out: {link} is a link that leads out of {out}, folders inside it are allowed.\n"
    )
    assert [path.name for path in elsewhere.iterdir()] == ["round_7.npz"]


def test_files_that_are_links_are_replaced_and_not_followed(out, swept, tmp_path, capsys, monkeypatch):
    precious = tmp_path / "precious"
    precious.write_text("years of work")
    names = ["results.nc", "plan.json", "tiny.png", "tiny.pdf", ".owner.json"]
    unit = unit_of(out).relative_to(out)
    names += [f".{name}.{os.getpid()}.jaxnigt-part" for name in names]
    names += [str(unit), f"{unit}.sha256", f"units/.{unit.name}.{os.getpid()}.jaxnigt-part"]
    for name in names:
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(precious)
    status, output = here(capsys, monkeypatch, "sweep", swept / "tiny.toml", "--out", out)
    assert status == 0, output
    assert precious.read_text() == "years of work"
    assert same(swept / "out", out)
    assert not [path for path in out.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "tree",
    [
        xr.DataTree(),
        xr.DataTree(xr.Dataset(attrs={"definition": "{}"})),
        xr.DataTree.from_dict(
            {
                name: xr.Dataset(attrs={"definition": '{"name": "x"}'})
                for name in ("/", "/methods/x", "/profiles")
            }
        ),
    ],
    ids=["empty", "without a name", "without numbers"],
)
def test_a_data_set_of_another_tool_is_refused(tree, tmp_path, capsys, monkeypatch):
    tree.to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    status, output = here(capsys, monkeypatch, "figures", tmp_path)
    assert status == 2
    assert "results.nc cannot be read (it is no data set of a sweep)" in output


def test_a_figure_lies_in_its_folder_whatever_its_name(swept, tmp_path):
    tree = jn.load(swept / "out")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for name in ("../../x", str(tmp_path / "x"), ".."):
        tree.attrs["definition"] = json.dumps({"name": name})
        for path in jn.figures.draw(tree, folder):
            assert path.resolve().parent == folder.resolve()


DEFINITIONS = {
    "seeds": (
        "seeds = 1",
        f"seeds = {10**9}",
        "training.seeds: got 1000000000",
    ),
    "workers": ("workers = 2", f"workers = {MANY}", "workers: got 1000000000000"),
    "iterations": ("iterations = 4", f"iterations = {10**15}", "memory: rennala_nigt needs"),
    "batch": ("batch = 2,", f"batch = {MANY},", "batch: whole numbers from 1 to 2147483647"),
    "first batch": ("batch = 2,", f"batch = 2, init_batch = {MANY},", "init_batch: whole numbers"),
    "horizon": ("horizon = 2", f"horizon = {2**31 - 1}", "memory: rennala_nigt needs"),
    "states": ("horizon = 2", f"states = {10**6}", "problem.states: it asks for 6,000,000 numbers"),
    "evaluation": ("eval_batch = 2", f"eval_batch = {MANY}", "memory: rennala_nigt needs"),
    "chain": (
        '"tabular", horizon = 2',
        '"chain", epsilon = 1e-20, delta = 1e300',
        "problem.delta: got 1e+300",
    ),
    "pieces": (
        'family = "equal"',
        f'family = "decreasing", times = {MANY}',
        "times: whole numbers from 1 to 2147483647",
    ),
    "grid": (
        "workers = 2",
        "workers = 2\ngrid = { exponent = { start = 0, stop = 1, num = 100000 }, "
        "comm_scale = { start = 0, stop = 1, num = 100000 } }",
        "workers: it would take",
    ),
    "lists": (
        "stepsize = 0.1",
        "stepsize = { start = 0.1, stop = 1, num = 10000 }, "
        "momentum = { start = 0.1, stop = 1, num = 10000 }",
        "methods.0: its lists, with seeds and workers, have 100,000,000 combinations",
    ),
    "levels": ("stepsize = 0.1", "stepsize = " + "[" * 5000 + "]" * 5000, "too many levels"),
    "dots": ("workers = 2", "workers = 2\n" + "a." * 20_000 + "a = 1", "too many levels"),
    "quoted dots": ("workers = 2", "workers = 2\n" + '"a\\".". ' * 20_000 + "a = 1", "too many levels"),
    "digits": ("stepsize = 0.1", "stepsize = " + "9" * 5000, "is not valid TOML"),
    "endless": ("workers = 2", 'workers = 2\nbase = "/dev/zero"', "/dev/zero cannot be read: it is too"),
    "endless too": ("workers = 2", 'workers = 2\ndepends = "/dev/zero"', "/dev/zero cannot be read"),
    "endless table": (
        'family = "equal"',
        'family = "from_csv", path = "/dev/zero"',
        "/dev/zero cannot be read",
    ),
    "name": ('"tiny"', '"../../x"', "name: got '../../x'"),
    "root": ('"tiny"', '"/etc/x"', "name: got '/etc/x'"),
    "label": ('"equal", family', '"../x", family', "label: got '../x'"),
}


def keys(path):
    """Of the units of a definition."""
    panels = plan.panels(definition.read(path), budget=2**33)
    return [unit.key for unit in plan.unique_units(panels)]


@pytest.mark.parametrize(("before", "after", "words"), DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_definition_of_what_no_machine_holds_is_refused_at_once(
    before, after, words, tmp_path, modest
):
    path = tmp_path / "tiny.toml"
    assert before in TINY
    path.write_text(TINY.replace(before, after))
    with pytest.raises(jn.InputError) as refused:
        keys(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_long_definition_and_a_long_table_are_refused_by_their_size(tmp_path, modest):
    path = tmp_path / "long.toml"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(
        jn.InputError, match=r"long\.toml cannot be read: it is too long, at most 4,194,304"
    ):
        definition.read(path)
    with pytest.raises(jn.InputError, match=r"long\.toml is too long, at most 67,108,864 characters"):
        jn.profiles.from_csv(path)


@pytest.mark.parametrize("text", ["a," * 10**7 + "\n", "compute,comm\n" + "1," * 10**7 + "\n"])
def test_a_table_of_millions_of_columns_is_refused_unread(text, tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(text)
    tracemalloc.start()
    with pytest.raises(jn.InputError, match=r"wide\.csv: line [12] has 10,000,000 delimiters, at most"):
        jn.profiles.from_csv(path)
    assert tracemalloc.get_traced_memory()[1] < HOSTILE_ROOM
    tracemalloc.stop()


def test_a_size_stays_in_the_folder_of_results():
    path = store.usual_folder("tiny", "../../x")
    assert path.parent == store.usual_folder("tiny", None).parent
    assert "/" not in path.name


def test_module_is_the_only_door_and_says_that_it_opens(swept, tmp_path, capsys, monkeypatch):
    mine = tmp_path / "mine.py"
    mine.write_text("print('mine ran')\n")
    path = tmp_path / "tiny.toml"
    for key in ("module", "base"):  # a file below it may open the door as well
        if key == "base":
            (tmp_path / "below.toml").write_text(path.read_text())
            path.write_text('base = "below.toml"\n')
            mine.write_text("print('mine ran')  # again\n")
        else:
            path.write_text('module = "mine.py"\n' + TINY)
        _, output = here(capsys, monkeypatch, "sweep", path, "--out", tmp_path / "out", "--dry-run")
        assert f"module: {mine} is run, as the definition asks for." in output
        assert "mine ran" in output
    path.write_text(TINY)
    _, output = here(capsys, monkeypatch, "sweep", path, "--out", tmp_path / "out", "--dry-run")
    assert "is run" not in output
