"""Fingerprints: what makes an intermediate stale, and what doesn't."""

import pytest
from kedro.pipeline import Node, Pipeline

from robustmedclip.errors import InputError
from robustmedclip.io import FilesDataset
from robustmedclip.metrics import metrics_named
from robustmedclip.pipelines.bind import bind
from robustmedclip.run.catalog import FingerprintedCatalog
from robustmedclip.run.fingerprints import UNKNOWN, expected_fingerprints


def make(source, parameters=None, *, setting=0):
    return source


def pipeline(setting: int = 0, names: tuple[str, str] = ("middle", "end")) -> Pipeline:
    return Pipeline(
        [
            Node(bind(make, setting=setting), ["source", "params:p"], names[0], name="first"),
            Node(make, names[0], names[1], name="second"),
        ]
    )


def fingerprints(setting: int = 0, source: object = "a", parameter: object = 1) -> dict[str, str]:
    return expected_fingerprints(pipeline(setting), {"source": source, "params:p": parameter}.__getitem__)


def test_the_same_recipe_has_the_same_fingerprints():
    assert fingerprints() == fingerprints()
    assert set(fingerprints()) == {"middle", "end"}


def test_inputs_parameters_settings_and_code_count_down_the_line(monkeypatch):
    changes = [fingerprints(setting=1), fingerprints(source="b"), fingerprints(parameter=2)]
    monkeypatch.setattr("robustmedclip.run.fingerprints.code_hash", lambda modules: "other code")
    changes.append(fingerprints())
    monkeypatch.undo()
    for name in ("middle", "end"):
        assert len({fingerprints()[name], *(change[name] for change in changes)}) == 5


def test_the_code_of_every_metric_counts(monkeypatch):
    reached = []
    monkeypatch.setattr("robustmedclip.run.fingerprints.code_hash", reached.extend)
    scored = Pipeline([Node(bind(make, setting=metrics_named()), "source", "middle", name="first")])
    expected_fingerprints(scored, {"source": "a"}.__getitem__)
    families = ("classification", "ranking", "calibration")
    assert {f"robustmedclip.metrics.{family}" for family in families} <= set(reached)


def test_a_stage_alone_expects_what_all_of_them_have_made():
    together = fingerprints()
    alone = expected_fingerprints(pipeline().only_nodes("second"), {"middle": together["middle"]}.__getitem__)
    assert alone["end"] == together["end"]


def test_what_is_made_of_something_that_is_gone_is_taken_as_it_is_stored():
    sources = {"source": UNKNOWN, "params:p": 1}
    stored = expected_fingerprints(pipeline(), sources.__getitem__, {"middle": fingerprints()["middle"]}.get)
    assert stored == fingerprints()
    gone = expected_fingerprints(pipeline(), sources.__getitem__, {"end": "stored"}.get)
    assert gone == {"middle": UNKNOWN, "end": "stored"}


def catalog_of(tmp_path, version: str) -> FingerprintedCatalog:
    config = {"entry": {"type": f"{FilesDataset.__module__}.FilesDataset", "filepath": str(tmp_path / "e")}}
    config["entry"]["versioned"] = True
    return FingerprintedCatalog.from_config(config, save_version=version)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (
            {"type": "robustmedclip.io.FolderDatset", "filepath": "x"},
            "no type of dataset 'robustmedclip.io.FolderDatset'; did you mean 'robustmedclip.io.FolderDataset'",
        ),
        ({"type": "robustmedclip.io.FilesDataset", "filepath": "x", "pth": "y"}, "unexpected keyword argument 'pth'"),
        (
            {
                "type": "robustmedclip.io.ModelDataset",
                "format": "open_clip",
                "settings": {"path": "clip", "pretrained": "openai"},
            },
            "clip brings its own weights, and 'pretrained: openai' names others: leave 'pretrained' out",
        ),
        (
            {
                "type": "robustmedclip.io.ModelDataset",
                "format": "robustmedclip",
                "settings": {
                    "base": {"type": "open_clip", "model": "hf-hub:a/b", "pretrained": "x.pt"},
                    "adapter": "model.pth",
                },
            },
            "hf-hub:a/b brings its own weights, and 'pretrained: x.pt' names others: leave 'pretrained' out",
        ),
    ],
)
def test_an_entry_that_is_wrong_is_named_in_one_line(entry, reason):
    with pytest.raises(InputError, match=f"^The catalog entry 'raw-x' is wrong: .*{reason}.*$"):
        FingerprintedCatalog.from_config({"raw-x": entry}).get("raw-x")


def test_an_entry_exists_only_with_the_expected_fingerprint(tmp_path):
    catalog = catalog_of(tmp_path, "1")
    catalog.fingerprints = {"entry": "abc"}
    assert not catalog.exists("entry")
    catalog.save("entry", {"a": b"1"})
    assert catalog.exists("entry")
    later = catalog_of(tmp_path, "2")
    later.fingerprints = {"entry": "other"}
    assert not later.exists("entry")
    later.fingerprints = {}
    assert later.exists("entry")


def test_a_version_without_a_fingerprint_was_never_finished(tmp_path):
    catalog = catalog_of(tmp_path, "1")
    catalog.save("entry", {"a": b"1"})
    catalog.fingerprints = {"entry": "abc"}
    assert not catalog.exists("entry")
