"""The reader of pickles: what it reads is what was written, and nothing that a pickle says is ever done."""

from __future__ import annotations

import argparse
import collections
import copyreg
import io
import os
import pickle
import struct
import sys
import types
import zipfile

import pytest
import torch
from torch import nn

from genzoo.core.errors import DamagedFile
from genzoo.foreign.pickles import Held, read_pickle, state_of

OLD = {"_use_new_zipfile_serialization": False}


class Trap:
    """Runs a command when it is unpickled as pickles mean to be."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))


def equal(state, net):
    expected = net.state_dict()
    return state.keys() == expected.keys() and all(
        torch.equal(state[k], v) and state[k].dtype == v.dtype and type(state[k]) is torch.Tensor
        for k, v in expected.items()
    )


@pytest.mark.parametrize("form", [{}, OLD], ids=["zip", "old"])
@pytest.mark.parametrize("beside", [None, argparse.Namespace(size=8), collections.Counter("abc"), {1, 2}], ids=type)
def test_state_dictionaries_with_other_things_beside_them(tmp_path, net, form, beside):
    torch.save({"g": net.state_dict(), "beside": beside}, tmp_path / "a.pt", **form)
    assert equal(state_of(read_pickle(tmp_path / "a.pt")["g"]), net)


@pytest.mark.parametrize("form", [{}, OLD], ids=["zip", "old"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_types_views_and_shared_storages(tmp_path, form, dtype):
    base = torch.arange(24).view(4, 6).to(dtype)
    written = {"whole": base, "turned": base.T, "part": base[1:3, ::2], "none": base[:0], "one": base[2, 3]}
    torch.save({"state": written, "beside": argparse.Namespace()}, tmp_path / "a.pt", **form)
    found = state_of(read_pickle(tmp_path / "a.pt")["state"])
    assert all(torch.equal(found[k], v) and found[k].dtype == dtype for k, v in written.items())


@pytest.mark.parametrize("form", [{}, OLD], ids=["zip", "old"])
def test_modules_that_were_pickled_whole(tmp_path, net, form):
    torch.save(net, tmp_path / "a.pt", **form)
    assert equal(state_of(read_pickle(tmp_path / "a.pt")), net)
    for protocol in range(6):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"G": net}, protocol=protocol))
        assert equal(state_of(read_pickle(tmp_path / "a.pkl")["G"]), net)


def test_objects_that_carry_their_source_as_nvidias_do(tmp_path, monkeypatch):
    """The source is text that stays text; parameters and parts are found in the state."""
    trap = tmp_path / "sprung"
    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = lambda meta: None
    module._reconstruct_persistent_obj.__module__ = module.__name__
    module._reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)

    class Kept:
        def __init__(self, **state):
            self.kept = {"_parameters": {}, "_buffers": {}, "_modules": {}, **state}

        def __reduce__(self):
            source = f"import os; os.system('touch {trap}')"
            meta = {"type": "class", "version": 6, "module_src": source, "class_name": "Generator", "state": self.kept}
            return module._reconstruct_persistent_obj, (meta,)

    weight = nn.Parameter(torch.randn(3, 2))
    inner = Kept(_parameters={"weight": weight, "bias": None}, _buffers={"w_avg": torch.ones(2)})
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"G_ema": Kept(_modules={"mapping": inner})}))
    state = state_of(read_pickle(tmp_path / "n.pkl")["G_ema"])
    assert torch.equal(state["mapping.weight"], weight)
    assert torch.equal(state["mapping.w_avg"], torch.ones(2))
    assert len(state) == 2
    assert not trap.exists()


@pytest.mark.parametrize("form", [{}, OLD, None], ids=["zip", "old", "bare"])
def test_nothing_is_executed(tmp_path, form):
    path, trap = tmp_path / "a.pt", tmp_path / "sprung"
    if form is None:
        path.write_bytes(pickle.dumps({"a": Trap(trap)}))
    else:
        torch.save({"a": Trap(trap)}, path, **form)
    found = read_pickle(path)["a"]
    assert isinstance(found, Held)
    assert found.of.endswith(".system")
    assert found.args == (f"touch {trap}",)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists(), "the trap is one"


class Knot:
    """A module that holds the one before it twice, or itself."""

    def __init__(self, *parts):
        self._modules = {str(i): p for i, p in enumerate(parts)}


def test_modules_that_unfold_without_end_are_refused(tmp_path):
    knot = Knot()
    knot._modules["0"] = knot
    tower = Knot()
    for _ in range(40):
        tower = Knot(tower, tower)
    for bad in (knot, tower):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"G": bad}))
        found = read_pickle(tmp_path / "a.pkl")["G"]
        with pytest.raises(DamagedFile, match="stands inside itself"):
            state_of(found)


def code(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def text(word):
    return b"X" + struct.pack("<I", len(word)) + word.encode()


STATE = b"}" + text("__class__") + named("builtins", "eval") + b"s"  # a dictionary that would set an attribute
SLOTS = b"N" + STATE + b"\x86"
BAD = {
    "a function's attributes": code(named("torch._utils", "_rebuild_tensor_v2"), SLOTS, b"b"),
    "a class's attributes": code(named("os", "system"), SLOTS, b"b"),
    "a tensor without storage": code(named("torch._utils", "_rebuild_tensor_v2"), b"(K\x01K\x00)))tR"),
    "a storage that is elsewhere": code(b"K\x05Q"),
    "nothing": b"",
    "no end": code(b"]")[:-1],
    "an extension": b"\x80\x02\x82\x07.",
    "no such bytes": code(named("_codecs", "encode"), b"(", text("x"), text("idna"), b"tR"),
    "no list": code(b"K\x01K\x02a"),
}


@pytest.mark.parametrize("name", BAD)
def test_programs_that_no_checkpoint_is_are_refused(tmp_path, name):
    (tmp_path / "a.pkl").write_bytes(BAD[name])
    with pytest.raises(DamagedFile, match="cannot be read as a checkpoint of PyTorch"):
        read_pickle(tmp_path / "a.pkl")


def test_what_a_pickle_sets_on_an_object_of_its_own_is_kept_and_nothing_else(tmp_path):
    program = code(named("os", "system"), b")R", STATE, b"b")
    (tmp_path / "a.pkl").write_bytes(program)
    found = read_pickle(tmp_path / "a.pkl")
    assert type(found).__mro__[1] is Held
    assert isinstance(found.state, dict)


def test_the_table_of_extensions_of_this_process_is_of_no_use(tmp_path):
    copyreg.add_extension("os", "system", 241)
    try:
        (tmp_path / "a.pkl").write_bytes(b"\x80\x02\x82\xf1" + b"(" + text(f"touch {tmp_path / 'sprung'}") + b"tR.")
        assert isinstance(read_pickle(tmp_path / "a.pkl"), Held)
        assert not (tmp_path / "sprung").exists()
    finally:
        copyreg.remove_extension("os", "system", 241)


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Write a zip archive again, with `change` applied to the content of each part."""
    with zipfile.ZipFile(path) as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            if (new := change(name, content)) is not None:
                archive.writestr(name, new)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, c: c[:-3] if n.split("/")[-2] == "data" else c, "larger than the file"),
        (lambda n, c: None if n.split("/")[-2] == "data" else c, "lacks"),
        (lambda n, c: None if n.endswith("data.pkl") else c, "no data.pkl"),
        (lambda n, c: b"big" if n.endswith("byteorder") else c, "big-endian"),
        (lambda n, c: c.replace(b"FloatStorage", b"FlowtStorage"), "FlowtStorage"),
        (lambda n, c: c.replace(b"K\x02K\x03\x86", b"K\x02K\x7f\x86"), "beyond its storage"),
    ],
)
def test_damaged_archives_are_refused(tmp_path, change, said):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.randn(2, 3), "beside": argparse.Namespace()}, path)
    rewritten(path, change)
    with pytest.raises(DamagedFile, match=said):
        read_pickle(path)


def test_archives_that_unfold_are_refused(tmp_path):
    torch.save({"w": torch.zeros(1000), "beside": argparse.Namespace()}, tmp_path / "a.pt")
    rewritten(tmp_path / "a.pt", lambda n, c: c, zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedFile, match="compressed"):
        read_pickle(tmp_path / "a.pt")


@pytest.mark.parametrize("form", [{}, OLD], ids=["zip", "old"])
def test_files_cut_off_anywhere_are_refused(tmp_path, form):
    buffer = io.BytesIO()
    torch.save({"w": torch.randn(2, 3), "beside": argparse.Namespace(a=1)}, buffer, **form)
    content = buffer.getvalue()
    for end in range(0, len(content) - 1, 7):
        (tmp_path / "a.pt").write_bytes(content[:end])
        with pytest.raises(DamagedFile):
            read_pickle(tmp_path / "a.pt")


def test_an_archive_in_several_parts_is_refused(tmp_path):
    torch.save({"w": torch.zeros(2), "beside": argparse.Namespace()}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    at = content.rindex(b"PK\x06\x07")  # the locator of the directory's end: its last number counts the parts
    content[at + 16] = 2
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(DamagedFile, match="cannot be read"):
        read_pickle(tmp_path / "a.pt")


def test_flipped_bytes_are_refused_or_read_but_never_done(tmp_path, monkeypatch):
    """Whatever the byte, nothing but DamagedFile comes out, and the class that the file names is not made."""
    buffer = io.BytesIO()
    torch.save({"w": torch.randn(2, 3), "beside": argparse.Namespace(a=1)}, buffer, **OLD)
    content, read, made = buffer.getvalue(), 0, []
    monkeypatch.setattr(argparse, "Namespace", lambda *a, **k: made.append(a))
    for at in range(0, len(content), 3):
        (tmp_path / "a.pt").write_bytes(content[:at] + bytes([content[at] ^ 0x15]) + content[at + 1 :])
        try:
            read_pickle(tmp_path / "a.pt")
        except DamagedFile:
            continue
        read += 1
    assert not made
    assert 0 < read < len(content) // 3, "some are read, some refused"
