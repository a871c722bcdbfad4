"""skvae.load refuses files that are damaged or hostile, and executes nothing."""

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import EarlyStopping, PrintLog

import skvae
from skvae import VAEOutlierDetector, VAETransformer
from skvae.export._persistence import FORMAT, _compute_digest


@pytest.fixture(scope="module")
def content(X):
    """The file of a small detector."""
    detector = VAEOutlierDetector(
        2, max_epochs=1, hidden_layer_sizes=(4,), random_state=0
    )
    file = io.BytesIO()
    skvae.save(detector.fit(X), file)
    return file.getvalue()


def load(content, **options):
    return skvae.load(io.BytesIO(content), **options)


def split(content):
    """Return the description, the header of the arrays, and their bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return (
        json.loads(header.pop("__metadata__")["skvae"]),
        header,
        content[8 + length :],
    )


def join(description, header, values):
    """Return a file with a digest that is true of it, as who forges one would."""
    text = json.dumps(description)
    head = json.dumps({"__metadata__": {"skvae": text}, **header}).encode()
    head += b" " * (-len(head) % 8)
    content = len(head).to_bytes(8, "little") + head + values
    known = description.get("digest")
    if not isinstance(known, str):
        return content
    return content.replace(known.encode(), _compute_digest(content, known).encode(), 1)


def find_state(description):
    """Return the node of the attributes of the estimator."""
    return description["estimator"]["state"]["dict"]


def refuse(content, match, **options):
    with pytest.raises(ValueError, match=match) as found:
        load(content, **options)
    message = str(found.value)
    assert message.startswith("The file ")
    assert message.endswith(".")
    assert len(message) < 400


def test_a_forged_file_with_nothing_changed_is_loaded(content, X):
    np.testing.assert_array_equal(
        load(join(*split(content))).score_samples(X), load(content).score_samples(X)
    )


def test_random_mutations_are_refused(content):
    rng = np.random.default_rng(0)
    for number in range(200):
        damaged, place = bytearray(content), int(rng.integers(len(content)))
        if number % 5 == 0:
            del damaged[place:]
        elif number % 5 == 1:
            damaged[place] ^= 1 << int(rng.integers(8))
        elif number % 5 == 2:
            damaged[place : place + 32] = rng.bytes(32)
        elif number % 5 == 3:
            damaged[place:place] = rng.bytes(int(rng.integers(1, 20)))
        else:
            # of the header alone
            damaged[int(rng.integers(400))] ^= 1 << int(rng.integers(8))
        assert damaged != content
        refuse(bytes(damaged), "damaged|cut off|not a file")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        b"PK\x03\x04" + b"\x00" * 100,
        (2**63).to_bytes(8, "little") + b"{}",
        (10).to_bytes(8, "little") + b"[" * 10,
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        (2).to_bytes(8, "little") + b"{}",
    ],
    ids=["empty", "zeros", "zip", "huge", "cut", "deep", "bare"],
)
def test_other_files_are_refused(content):
    refuse(content, "not a file of skvae.save")


def test_files_of_torch_and_pickle_are_refused(tmp_path, X):
    import joblib

    path = joblib.dump(VAETransformer(), tmp_path / "vae")[0]
    with pytest.raises(ValueError, match=r"vae' is not a file of skvae\.save"):
        skvae.load(path)


def test_what_cannot_be_read_is_refused():
    for value, message in ((b"content", "bytes; wrap it"), (None, "None"), (3, "int")):
        with pytest.raises(TypeError, match=f"binary mode, not {message}"):
            skvae.load(value)


@pytest.mark.parametrize("package", ["polars", "pyarrow"])
def test_a_package_that_is_not_installed_is_named(monkeypatch, package):
    pytest.importorskip(package)
    number, level = np.random.default_rng(0).standard_normal(40), ["x", "y"] * 20
    if package == "polars":
        polars = pytest.importorskip("polars")
        levels = polars.Series(level, dtype=polars.Enum("xy"))
        frame = polars.DataFrame({"a": number, "b": levels})
    else:
        texts = pd.array(level, dtype="string[pyarrow]")
        frame = pd.DataFrame({"a": number, "b": texts})
    file = io.BytesIO()
    skvae.save(VAETransformer(1, density="joint", max_epochs=1).fit(frame), file)
    monkeypatch.setitem(sys.modules, package, None)
    refuse(file.getvalue(), f"needs {package}, which is not installed")


def test_arrays_of_other_shapes_types_and_places_are_refused(content):
    description, header, values = split(content)
    weights = [n for n in header if n.endswith(".weight")]
    for name in weights:
        other = json.loads(json.dumps(header))
        other[name]["shape"] = other[name]["shape"][::-1]
        if other != header:
            refuse(join(description, other, values), "damaged")
    one, two = [n for n in header if header[n]["shape"] == header[weights[0]]["shape"]][
        :1
    ] + weights[1:2]
    swapped = header | {one: header[two], two: header[one]}
    refuse(join(description, swapped, values), "damaged")
    other = json.loads(json.dumps(header))
    other[one]["dtype"] = "I32"
    refuse(join(description, other, values), "damaged")
    del other[one]
    refuse(join(description, other, values), "damaged")


def test_swapped_arrays_of_one_shape_change_the_digest(content):
    description, header, values = split(content)
    names = [n for n in header if header[n]["shape"] == [2]]
    swapped = header | {names[0]: header[names[1]], names[1]: header[names[0]]}
    text = json.dumps(description)
    head = json.dumps({"__metadata__": {"skvae": text}, **swapped}).encode()
    refuse(len(head).to_bytes(8, "little") + head + values, "damaged")


def test_later_formats_are_refused(content):
    description, *rest = split(content)
    for number, match in [
        (FORMAT + 1, f"which is later than {FORMAT} .* install a later version"),
        (0, "no format"),
        ("1", "no format"),
        (None, "no format"),
    ]:
        refuse(join(description | {"format": number}, *rest), match)
    refuse(join(description | {"digest": None}, *rest), "no digest")
    refuse(join(description | {"versions": None}, *rest), "damaged")


NAMES = [
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "builtins.getattr",
    "subprocess.Popen",
    "torch.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.modules.os.system",
    "torch.optim.optimizer.functools",
    "torch.hub.load",
    "torch.storage._load_from_bytes",
    "numpy.load",
    "skorch.callbacks.Checkpoint",
    "skorch.callbacks.training.LoadInitState",
    "skorch.callbacks.training.Checkpoint",
    "skorch.callbacks.logging.SacredLogger",
    "skvae.export._persistence.load",
    "skvae.export._persistence.os.system",
    "skvae._utils._description._names.importlib.import_module",
    "skvae.export._skl2onnx.Converter",
    "skvae._replay._calls.Call",
    "skvae.plots",
    "skvae._estimator.sys",
    "skvae.datasets.np.load",
    "skvae..os.system",
    "antigravity.anything",
    "..os.system",
    "",
    None,
    7,
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["class", "object", "value"])
def test_names_that_are_not_trusted_are_refused(content, name, kind):
    before = set(sys.modules)
    description, *rest = split(content)
    node = {"name": name}
    if kind == "class":
        find_state(description)["network"] = node
    elif kind == "object":
        find_state(description)["network"] = {"object": node, "state": {"dict": {}}}
    else:
        description["estimator"] = {"object": node, "state": {"dict": {}}}
    refuse(join(description, *rest), "not part of skvae|do not have|damaged")
    assert "antigravity" not in set(sys.modules) - before


def test_a_class_of_another_version_is_named(content):
    description, *rest = split(content)
    find_state(description)["network"] = {"name": "skvae.networks.Later"}
    forged = join(description, *rest)
    refuse(forged, r"holds 'skvae\.networks\.Later', .*install the version that")


def test_a_known_class_is_no_estimator(content):
    description, *rest = split(content)
    for node in (
        {"object": {"name": "skvae.networks.MLP"}, "state": {"dict": {}}},
        {"name": "skvae.VAETransformer"},
        {"list": []},
        {"object": {"list": []}, "state": None},
        None,
        [],
        {},
    ):
        refuse(join(description | {"estimator": node}, *rest), "damaged")


VALUES = {
    "unknown kind": {"pickle": "gASVBQAAAAAAAABLAS4="},
    "reference": {"ref": 10**6},
    "own reference": {"tuple": [{"ref": 77}], "id": 77},
    "array": {"array": "../../etc/passwd"},
    "objects of bytes": {"array": "offset", "dtype": "|O", "shape": [-1]},
    "shape": {"objects": [], "shape": [10**9]},
    "dtype": {"dtype": "f8,(9999999,)f8"},
    "scalar": {"scalar": 1, "dtype": "object"},
    "torch": {"torch_dtype": "load"},
    "device": {"device": "meta"},
    "factory": {"default_dict": {}, "factory": {"name": "builtins.print"}},
    "zone": {"time": 0, "unit": "ns", "zone": "dateutil//etc/passwd"},
    "pandas": {"pandas_dtype": "datetime64[ns, dateutil//etc/passwd]"},
    "interval": {
        "pandas_dtype": "interval[datetime64[ns, dateutil//etc/passwd], left]"
    },
    "index": {
        "index": {"list": []},
        "index_dtype": "datetime64[ns, dateutil//etc/passwd]",
        "names": [None],
    },
    "folder": {"pandas_dtype": "datetime64[ns, ../../passwd]"},
    "polars": {"polars": "read_csv"},
    "polars nested": {"polars": "List", "arguments": {"dict": {"inner": "Int64"}}},
    "polars zone": {
        "polars": "Datetime",
        "arguments": {"dict": {"time_unit": "us", "time_zone": "dateutil//etc/passwd"}},
    },
    "arrow zone": {"arrow_dtype": ["timestamp", "ns", "dateutil//etc/passwd"]},
    "lazy module": {"torch_dtype": "_dynamo"},
    "arrow": {"arrow_dtype": ["py_extension"]},
    "generator": {"generator": {"dict": {"bit_generator": "MT19937"}}},
    "finite": {"float": "1.0"},
    "bytes": {"bytes": "not base64"},
    "decimal": {"Decimal": "__import__('os')"},
    "list": [1, 2],
}


@pytest.mark.parametrize("name", VALUES)
def test_nodes_that_no_file_has_are_refused(content, name):
    description, *rest = split(content)
    find_state(description)["network"] = VALUES[name]
    refuse(join(description, *rest), "damaged")


def test_nesting_without_end_is_refused(content):
    description, header, values = split(content)
    find_state(description)["network"] = "here"
    text = json.dumps(description)
    for deep in ('{"list": [' * 3000 + "]}" * 3000, "[" * 10**6):
        head = {"__metadata__": {"skvae": text.replace('"here"', deep)}, **header}
        head = json.dumps(head).encode()
        forged = len(head).to_bytes(8, "little") + head + values
        known = description["digest"]
        digest = _compute_digest(forged, known)
        refuse(forged.replace(known.encode(), digest.encode(), 1), "damaged")


def test_a_generator_beyond_its_memory_is_refused(content):
    file = io.BytesIO()
    skvae.save(VAETransformer(random_state=np.random.RandomState(0)), file)
    description, *rest = split(file.getvalue())
    state = find_state(description)["random_state"]["random_state"]["dict"]
    state["state"]["dict"]["pos"] = 10**6
    refuse(join(description, *rest), "damaged")


def change_tensors(node, **changes):
    """Change the nodes of all tensors within a node."""
    if isinstance(node, dict):
        if "tensor" in node:
            node.update(changes)
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            change_tensors(value, **changes)


def test_tensors_beyond_their_array_are_refused(content):
    for layout in (
        [[10**6], [1], 0],
        [[1], [1], 10**6],
        [[2], [-1], 1],
        [[-1], [1], 0],
    ):
        description, *rest = split(content)
        change_tensors(description["estimator"], layout=layout)
        refuse(join(description, *rest), "damaged")


def test_tensors_of_an_accelerator_are_loaded_without_one(content, X, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    description, *rest = split(content)
    change_tensors(description["estimator"], on="cuda:1")
    state = find_state(description)
    state["device_"] = "cuda:1"
    state["net_"]["state"]["dict"]["device"] = "cuda:1"
    twin = load(join(description, *rest))
    assert twin.device_ == twin.net_.device == "cpu"
    np.testing.assert_array_equal(twin.score_samples(X), load(content).score_samples(X))


def test_what_is_trusted_must_be_there(content):
    description, *rest = split(content)
    find_state(description)["network"] = {"name": "no_such_module.Network"}
    forged = join(description, *rest)
    with pytest.raises(ValueError, match="is trusted, but cannot be imported"):
        load(forged, trusted=["no_such_module.Network"])
    for trusted in ("no_such_module.Network", 7, None, True):
        with pytest.raises(TypeError, match="trusted="):
            load(content, trusted=trusted)


def test_files_must_be_binary(tmp_path, content):
    path = tmp_path / "vae"
    path.write_bytes(content)
    with open(path, encoding="latin-1") as file, pytest.raises(TypeError, match="'rb'"):
        skvae.load(file)
    with pytest.raises(FileNotFoundError):
        skvae.load(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        skvae.save(VAETransformer(), tmp_path / "no folder" / "vae")


def test_nothing_is_imported_before_a_file_is_checked(content, tmp_path):
    path = tmp_path / "vae"
    path.write_bytes(content[:-1])
    code = (
        "import sys, skvae\n"
        "try: skvae.load(sys.argv[1])\n"
        "except ValueError: assert not {'torch', 'safetensors'} & set(sys.modules)\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def find_module(description):
    """Return the node of the attributes of the module."""
    net = find_state(description)["net_"]["state"]["dict"]
    return net["module_"]["state"]["dict"]


def find_encoder(description):
    """Return the node of the attributes of a layer."""
    return find_module(description)["_modules"]["dict"]["encoder_head"]["state"]["dict"]


PRINT = {"name": "builtins.print"}
LAYER = {"name": "torch.nn.modules.linear.Linear"}


def put_calls(description, name):
    """Let a file call print, or a class, at one of the places that torch calls."""
    module, layer = find_module(description), find_encoder(description)
    state = find_state(description)
    if name.endswith("hooks"):
        layer[name] = {"dict": [[0, PRINT]]}
    elif name == "filled later":
        # empty when the layer is made, and full when it is used
        hooks = {"_forward_hooks": {"ref": 10**6}}
        other = {"object": LAYER, "state": {"dict": hooks}}
        net = state["net_"]["state"]["dict"]
        net["early"] = {"dict": [["a", other], [0, PRINT]], "id": 10**6}
    elif name == "part":
        module["_modules"]["dict"]["other"] = LAYER
    elif name == "part that is no module":
        part = {"object": {"name": "skvae.objectives.ELBO"}, "state": {"dict": {}}}
        module["_modules"]["dict"]["other"] = part
    elif name == "list":
        module["layers"] = {"list": [{"tuple": [LAYER]}]}
    elif name == "attribute":
        module["activation"] = PRINT
    elif name == "object":
        layer["_compiled_call_impl"] = layer_of(module) | {"id": 10**6}
    elif name == "method of the net":
        net = state["net_"]["state"]["dict"]
        net["_register_virtual_param"] = PRINT
    elif name == "method of the estimator":
        state["_get_model"] = PRINT
    elif name == "property":
        state["_n_features_out"] = 2
    elif name == "slots":
        encoder = module["_modules"]["dict"]["encoder_head"]
        encoder["state"] = {"tuple": [{"dict": layer}, {"dict": {"__class__": LAYER}}]}
    else:
        layer[name] = PRINT


def layer_of(module):
    """Return a node of a layer of its own."""
    layer = module["_modules"]["dict"]["encoder_head"]
    return json.loads(json.dumps({k: v for k, v in layer.items() if k != "id"}))


@pytest.mark.parametrize(
    "name",
    [
        *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks"),
        *("_state_dict_hooks", "_load_state_dict_pre_hooks", "filled later"),
        *("forward", "__call__", "_call_impl", "_compiled_call_impl", "__class__"),
        *(
            "part",
            "part that is no module",
            "list",
            "attribute",
            "object",
            "property",
            "slots",
        ),
        *("method of the net", "method of the estimator"),
    ],
)
def test_nothing_is_called_by_a_name(content, name, capsys):
    description, *rest = split(content)
    put_calls(description, name)
    forged = join(description, *rest)
    refuse(forged, "damaged")
    with pytest.raises(ValueError, match="damaged"):
        load(forged, trusted=[print, torch.nn.Linear])
    assert capsys.readouterr().out == ""


def test_a_kept_model_of_a_file_is_not_used(content, X):
    description, *rest = split(content)
    model = {"object": {"name": "skvae.networks.MLP"}, "state": {"dict": {}}}
    find_state(description)["_kept_model"] = model
    twin = load(join(description, *rest))
    np.testing.assert_array_equal(twin.score_samples(X), load(content).score_samples(X))


def test_what_would_be_called_is_not_saved(content, X):
    for name, value in [("_forward_hooks", {0: print}), ("forward", print)]:
        detector = load(content)
        setattr(detector.net_.module_.encoder_head, name, value)
        with pytest.raises(TypeError, match=rf"{name}' of the Linear in net_.*joblib"):
            skvae.save(detector, io.BytesIO())
    detector = load(content)
    detector.transform = print
    with pytest.raises(TypeError, match=r"'transform' of the VAEOutlierDetector: "):
        skvae.save(detector, io.BytesIO())


def test_callbacks_keep_what_they_print_with():
    callbacks = [PrintLog(), EarlyStopping()]
    file = io.BytesIO()
    skvae.save(VAETransformer(net_callbacks=callbacks), file)
    twin = load(file.getvalue())
    assert [callback.sink for callback in twin.net_callbacks] == [print, print]


HOSTILE = [
    *({"name": f"skvae.{room}.Any"} for room in ("export._skl2onnx", "plots._tables")),
    *({"name": f"skvae.{room}"} for room in ("plots", "export", "datasets")),
    *({"name": f"skvae.{room}.Any"} for room in ("plots", "export", "datasets.x")),
    *({"torch_dtype": name} for name in ("onnx", "_dynamo", "_inductor", "_export")),
    *({"name": f"torch.{name}.Any"} for name in ("optim.onnx", "nn.modules.onnx")),
    {"name": "builtins.antigravity"},
]


def list_loaded(paths, code=""):
    """Return the modules of a process that has loaded files, refused or not."""
    code = (
        f"import sys, skvae\n{code}\n"
        "for path in sys.argv[1:]:\n"
        "    try: skvae.load(path)\n"
        "    except ValueError: pass\n"
        "print(*sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(found.stdout.split())


def test_no_module_is_imported_but_those_that_are_named(content, tmp_path):
    paths = []
    for number, node in enumerate([None, *HOSTILE]):
        description, *rest = split(content)
        if node is not None:
            find_state(description)["network"] = node
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(join(description, *rest))
    good = list_loaded(paths[:1])
    assert not list_loaded(paths) - good
    assert not {"onnx", "skl2onnx", "matplotlib"} & {m.split(".")[0] for m in good}


def test_rooms_with_known_classes_import_nothing_optional(content, tmp_path):
    path = tmp_path / "good"
    path.write_bytes(content)
    code = (
        "import pkgutil, importlib\n"
        "from skvae._utils._description import _names\n"
        "for room in _names._ROOMS:\n"
        "    module = importlib.import_module(f'skvae.{room}')\n"
        "    for m in pkgutil.iter_modules(getattr(module, '__path__', ())):\n"
        "        importlib.import_module(f'skvae.{room}.{m.name}')"
    )
    found = list_loaded([path], code)
    tops = {m.split(".")[0] for m in found - list_loaded([path])}
    assert tops <= {"skvae", "scipy", "numpy", "torch", "sklearn"}
