"""The plan: what it accepts, and what it says of what it doesn't."""

import copy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from small_benchmark import PHANTOM

from robustmedclip.corruptions.kernels import noise
from robustmedclip.corruptions.suites import Corruption, Suite
from robustmedclip.images.conditions import CLEAN, Condition
from robustmedclip.io import FolderDataset
from robustmedclip.plan.amounts import fraction_label
from robustmedclip.plan.entries import catalog_entries
from robustmedclip.plan.problems import PlanError
from robustmedclip.plan.reading import read_plan
from robustmedclip.run.config import BenchmarkConfigLoader, ConfigError
from robustmedclip.settings import CONFIG_LOADER_ARGS

MODEL = {"type": "open_clip", "path": "clip"}
CONF = Path(__file__).parents[2] / "conf"
METHODS = yaml.safe_load((CONF / "base/parameters/methods.yml").read_text())
PARAMETERS = METHODS | {
    "data_sets": {
        "blood": {"modality": "microscopy", "source": PHANTOM},
        "own": {"modality": "x-ray", "source": {"type": "folder", "filepath": "own"}, "classes": ["a", "b"]},
    },
    "corruptions": {"suite": "medimeta-c", "names": "all"},
    "templates": ["a {modality} image showing {class_name}"],
    "models": {"clip": {"source": MODEL}, "other": {"source": MODEL}},
    "adaptations": {"lora": {"method": "lora", "models": "all", "fractions": [0.1, 0.01], "rank": 8}},
    "seeds": [0, 1],
    "baseline": "other",
}


def changed(path: str, value: object) -> dict:
    parameters = copy.deepcopy(PARAMETERS)
    *parents, last = path.split(".")
    place = parameters
    for parent in parents:
        place = place[parent]
    place[last] = value
    return parameters


def test_a_key_that_starts_with_an_underscore_is_the_users_own():
    assert read_plan(PARAMETERS | {"_anchor": 3}) == read_plan(PARAMETERS)


@pytest.fixture
def load(tmp_path):
    """What a loader says with a file in ``conf/local`` and some ``--params``."""
    shutil.copytree(CONF / "base", tmp_path / "base")
    (tmp_path / "local").mkdir()

    def loader(text: str, **params: object) -> BenchmarkConfigLoader:
        (tmp_path / "local/benchmark.yml").write_text(text)
        return BenchmarkConfigLoader(str(tmp_path), runtime_params=params, **CONFIG_LOADER_ARGS)

    return loader


def test_everything_that_ships_is_known(load):
    assert load("").plan.baseline == "phantom_vit"
    for environment in ("paper", "methods", "imbalanced"):
        BenchmarkConfigLoader(str(CONF), env=environment, **CONFIG_LOADER_ARGS).plan


def test_a_mistyped_key_of_a_file_or_of_the_command_line_is_refused(load):
    with pytest.raises(PlanError, match="unknown 'basline'; did you mean 'baseline'"):
        load("basline: phantom_resnet").plan
    with pytest.raises(PlanError, match="unknown 'protocl'; did you mean 'protocol'"):
        load("", protocl="authors").plan


def test_a_key_of_globals_that_nothing_refers_to_is_refused(load, tmp_path):
    (tmp_path / "local/globals.yml").write_text("dta: /elsewhere")
    with pytest.raises(ConfigError, match=r"globals\.yml: unknown 'dta'; did you mean 'data'\?"):
        load("").plan
    (tmp_path / "local/globals.yml").write_text("disk: {path: /big}\ndata: ${disk.path}/study\nowner: me\n_own: 3")
    (tmp_path / "local/catalog.yml").write_text("mine: {type: MemoryDataset, data: '${globals:owner}'}")
    assert load("").plan.baseline == "phantom_vit"


def test_methods_of_an_environment_are_beside_those_that_ship_and_change_their_settings(load):
    text = "methods: {mine: {type: linear_probe, l2_strengths: [3]}, robust-lora: {epochs: 3}}"
    methods = load(text, methods={"robust-lora": {"rank": 2}})["parameters"]["methods"]
    shipped = METHODS["methods"]
    assert methods.keys() == {*shipped, "mine"} and methods["mine"] == {"type": "linear_probe", "l2_strengths": [3]}
    assert methods["robust-lora"] == shipped["robust-lora"] | {"epochs": 3, "rank": 2}
    assert methods["lora"] == shipped["lora"]
    with pytest.raises(PlanError, match="methods: expected names mapped to settings"):
        load("methods: none").plan


def test_without_the_environment_local_the_configuration_is_that_of_base(load, tmp_path):
    with_local = load("")["parameters"]
    shutil.rmtree(tmp_path / "local")
    assert BenchmarkConfigLoader(str(tmp_path), **CONFIG_LOADER_ARGS)["parameters"] == with_local


def test_an_environment_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no environment 'papre' in .*; did you mean 'paper'"):
        BenchmarkConfigLoader(str(CONF), env="papre", **CONFIG_LOADER_ARGS)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seeds: [0]\nmodels:\n\tclip: x", "line 3, column 1: .*; indent by spaces, not by tabs"),
        ("seeds: [0\nbaseline: x", "line 2, column 9"),
        ("seeds: [0\n", "line 2, column 1"),
        ("seeds: *x", "line 1, column 8: found undefined alias"),
        ("seeds: ${x}", "Interpolation key 'x' not found"),
        ("3", "benchmark.yml: Invalid loaded object type: int"),
        ("- 1", "benchmark.yml: expected keys with values"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(load, text, place):
    with pytest.raises(ConfigError, match=place) as error:
        load(text).plan
    assert "\n" not in error.value.message and ("benchmark.yml" in error.value.message or "${" in text)


@pytest.mark.parametrize("depth", [30, 200, 3000])
def test_settings_that_are_nested_too_deeply_are_refused_in_a_line(load, depth):
    with pytest.raises((ConfigError, PlanError)) as error:
        load(f"seeds: {'[' * depth}{']' * depth}").plan
    assert "Traceback" not in error.value.message and len(error.value.message) < 1000


def test_a_file_that_is_far_too_long_is_not_read(load):
    with pytest.raises(ConfigError, match="benchmark.yml has 2 MB"):
        load("seeds: [0] #" + " " * 2 * 10**6)


@pytest.mark.parametrize("classes", ["[yes, no]", "[1:20, 1:30]", "[010, 011]"])
def test_class_names_that_yaml_takes_for_something_else_are_to_be_quoted(load, classes):
    data_set = f"{{modality: x, source: {{type: folder, filepath: x}}, classes: {classes}}}"
    with pytest.raises((PlanError, ConfigError)) as error:
        load(f"data_sets: {{mine: {data_set}}}").plan
    assert "data_sets.mine.classes: expected at least two different class names" in error.value.message
    assert "into quotes" in error.value.message


def test_names_that_look_the_same_but_are_written_otherwise_are_told_apart():
    parameters = changed("data_sets.own.classes", ["caf\u00e9", "b"])
    parameters["data_sets"]["own"]["synonyms"] = {"cafe\u0301": ["coffee"]}
    with pytest.raises(PlanError, match="looks the same, but is written with other characters"):
        read_plan(parameters)


def test_all_images_leave_none_to_choose_by():
    with pytest.raises(PlanError, match="adaptations.lora.fractions: 1 leaves no image of the training pool for"):
        read_plan(changed("adaptations.lora.fractions", [0.1, 1.0]))
    prompts = {"x": {"method": "prompt-ensemble", "models": "all"}}
    assert read_plan(PARAMETERS | {"adaptations": prompts}).fractions == ()


def test_metrics_are_chosen_by_name_and_wrong_ones_named():
    assert [metric.name for metric in read_plan(PARAMETERS | {"metrics": ["ece"]}).metrics] == [
        "error",
        "balanced_accuracy",
        "ece",
    ]
    with pytest.raises(PlanError, match="metrics: unknown metric 'aurok'; did you mean 'auroc'"):
        read_plan(PARAMETERS | {"metrics": ["error", "aurok"]})


def test_a_suite_for_other_modalities_is_refused(monkeypatch):
    suite = "tests_of_modalities.SUITE"
    module = ModuleType("tests_of_modalities")
    corruption = Corruption(noise.gaussian_noise, (1, 2, 3, 4, 5), modalities=frozenset({"microscopy"}))
    module.SUITE = Suite(name="x", source="y", lists={None: {"gaussian_noise": corruption}})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    message = f"gaussian_noise make no sense for 'x-ray', the modality of 'own': none of {suite} does"
    for names in ("all", ["gaussian_noise"]):
        with pytest.raises(PlanError, match=message):
            read_plan(changed("corruptions", {"suite": suite, "names": names}))


class AnySource:
    def __init__(self, *, name, modality, **settings): ...


class OwnSource(FolderDataset):
    def __init__(self, *, stain, version=None, **source): ...


def test_settings_of_a_source_of_ones_own_are_the_arguments_of_its_class_and_of_those_it_hands_others_to(monkeypatch):
    module = ModuleType("tests_of_sources")
    module.AnySource, module.OwnSource = AnySource, OwnSource
    monkeypatch.setitem(sys.modules, module.__name__, module)
    own = {"type": "tests_of_sources.OwnSource", "stain": "H&E", "filepath": "x", "size": 32, "versioned": True}
    for source in (own, {"type": "tests_of_sources.AnySource", "whatever": 3}):
        assert read_plan(changed("data_sets.own.source", source)).data_sets[1].source == source
    with pytest.raises(PlanError) as error:
        read_plan(changed("data_sets.own.source", {"type": own["type"], "stian": "H&E", "filpath": "x"}))
    for problem in ("missing stain", "unknown 'stian'; did you mean 'stain'?", "unknown 'filpath'; did you mean 'file"):
        assert f"data_sets.own.source: {problem}" in error.value.message


def test_of_a_suite_those_corruptions_are_taken_that_fit_the_modality():
    plan = read_plan(changed("corruptions", {"suite": "acquisition-c", "names": "all"}))
    (own,) = (data_set for data_set in plan.data_sets if data_set.name == "own")
    names = {condition.corruption for condition in own.conditions}
    assert {"quantum_noise", "jpeg2000", "screen_photo"} < names
    assert not {"blink", "stain_shift", "motion"} & names


def test_a_corruption_of_another_modality_is_refused_with_those_that_fit():
    message = (
        "blink, motion make no sense for 'x-ray', the modality of 'own': those that do are quantum_noise, .*jpeg2000"
    )
    with pytest.raises(PlanError, match=message):
        read_plan(changed("corruptions", {"suite": "acquisition-c", "names": ["blink", "scatter", "motion"]}))


def test_fan_out():
    plan = read_plan(PARAMETERS)
    assert [model.name for model in plan.evaluated_models[:2]] == ["other", "clip"]
    assert len(plan.tuned_models) == 2 * 2 * 2
    assert plan.tuned_models[0].cell == "clip_lora_k1_s0"
    assert plan.fractions == (0.01, 0.1)


def test_conditions_are_clean_and_every_corruption_at_five_severities():
    conditions = read_plan(PARAMETERS).data_sets[0].conditions
    assert conditions[0] == CLEAN
    assert len(conditions) == 1 + 7 * 5
    assert all(Condition.parse(str(condition)) == condition for condition in conditions)


@pytest.mark.parametrize("names", [["pixelate"], ["pixelate", "contrast"]])
def test_a_data_set_may_have_its_own_corruptions(names):
    own = changed("data_sets.own.corruptions", {"suite": "medimeta-c", "names": names})
    assert len(read_plan(own).data_sets[1].conditions) == 1 + 5 * len(names)


def test_medmnist_c_has_a_list_for_each_data_set():
    parameters = changed("data_sets.blood.corruptions", {"suite": "medmnist-c", "names": "all", "dataset": "octmnist"})
    parameters["data_sets"]["bloodmnist"] = {
        "modality": "microscopy",
        "source": PHANTOM,
        "corruptions": {"suite": "medmnist-c", "names": ["bubble"], "storage": "on_the_fly", "grey": "reference"},
    }
    blood, own, bloodmnist = read_plan(parameters).data_sets
    assert (blood.suite_dataset, own.suite_dataset, bloodmnist.suite_dataset) == ("octmnist", None, "bloodmnist")
    assert [len(data_set.conditions) for data_set in (blood, own, bloodmnist)] == [31, 36, 6]
    assert (own.storage, own.grey) == ("materialised", "native")
    assert (bloodmnist.storage, bloodmnist.grey) == ("on_the_fly", "reference")


def test_released_files_become_a_source():
    parameters = changed("corruptions.released", "data/01_raw/MediMeta-C/{data_set}")
    parameters["data_sets"]["own"]["corruptions"] = {"suite": "medimeta-c", "names": ["contrast"]}
    plan = read_plan(parameters)
    assert [data_set.released for data_set in plan.data_sets] == ["data/01_raw/MediMeta-C/blood", None]
    entry = catalog_entries(plan, "/project")["released-blood"]
    assert (entry["suite"], entry["filepath"]) == ("medimeta-c", "data/01_raw/MediMeta-C/blood")
    assert "released-own" not in catalog_entries(plan, "/project")


def test_a_data_set_may_belong_to_a_collection():
    plan = read_plan(changed("data_sets.own.collection", "first"))
    assert [data_set.collection for data_set in plan.data_sets] == [None, "first"]


def test_sources_become_catalog_entries():
    sources = catalog_entries(read_plan(PARAMETERS), "/project")
    assert set(sources) == {"raw-blood", "raw-own", "model-clip", "model-other"}
    assert sources["raw-own"]["class_names"] == ["a", "b"]
    assert "origin" not in sources["model-clip"]
    origin = {"url": "https://example.org", "licence": "MIT"}
    assert (
        catalog_entries(read_plan(changed("models.clip.origin", origin)), "/project")["model-clip"]["origin"] == origin
    )


@pytest.mark.parametrize(
    ("path", "value", "culprit"),
    [
        ("models.clip.origin", "openai", "models.clip.origin: expected url, size, licence, citation, found 'openai'"),
        ("models.clip.origin", {"license": "MIT"}, "models.clip.origin: unknown 'license'; did you mean 'licence'?"),
        ("corruptions.names", ["gausian_noise"], "did you mean 'gaussian_noise'?"),
        ("corruptions.suite", "imagenet", "unknown corruption suite 'imagenet'; did you mean 'imagenet-c'?"),
        ("corruptions.suite", "medmnist-c", "medmnist-c has no list for 'own': set 'dataset'"),
        ("corruptions.storage", "disk", "corruptions.storage: expected materialised or on_the_fly, found 'disk'"),
        ("corruptions.grey", "gray", "corruptions.grey: expected native or reference, found 'gray'"),
        (
            "corruptions.dataset",
            "bloodmnist",
            "corruptions.dataset: medimeta-c has one list of corruptions for all data sets",
        ),
        ("corruptions.released", 3, "corruptions.released: expected the folder"),
        ("corruptions.label_map", {0: "x"}, "'released' is missing"),
        (
            "corruptions",
            {"suite": "medimeta-c", "names": "all", "released": "x", "label_map": ["a"]},
            "expected labels",
        ),
        (
            "data_sets.own.corruptions",
            {"suite": "medmnist-c", "names": ["fog"], "dataset": "bloodmnist"},
            "data_sets.own.corruptions.names: unknown 'fog'",
        ),
        (
            "data_sets.own.corruptions",
            {"suite": "medmnist-c", "names": "all", "dataset": "bloodmnst"},
            "did you mean 'bloodmnist'?",
        ),
        ("baseline", "clap", "did you mean 'clip'?"),
        ("adaptations.lora.models", ["clip", "biomed"], "unknown 'biomed'"),
        ("adaptations.lora.method", "prompt", "unknown 'prompt'"),
        ("adaptations.lora.fractions", [10], "0.1 is 10 %"),
        ("adaptations.lora.rank", 0, "rank"),
        ("data_sets.Blood", {"modality": "x", "source": PHANTOM}, "data_sets.Blood"),
        ("data_sets.own.clases", ["a"], "did you mean 'classes'?"),
        ("data_sets.own.classes", ["a", "a"], "different class names"),
        ("data_sets.own.collection", "all", "a name other than 'all'"),
        ("data_sets.own.collection", 3, "expected a name"),
        ("data_sets.own.source", "folder", "catalog entry"),
        ("templates", ["no placeholder"], "{class_name}"),
        ("templates", ["{class_name} of {dataset}"], "may contain {modality} and {data_set}"),
        ("data_sets.own.synonyms", ["normal"], "expected class names mapped to lists"),
        ("data_sets.own.synonyms", {"normal": "healthy"}, "data_sets.own.synonyms.normal: expected a list"),
        ("data_sets.own.synonyms", {"normal": ["healthy", "healthy"]}, "different names"),
        ("data_sets.own.synonyms", {"normal": [" "]}, "different names"),
        (
            "data_sets.own",
            {"modality": "x", "source": PHANTOM, "classes": ["a", "b"], "synonyms": {"c": ["d"]}},
            "data_sets.own.synonyms: unknown 'c'; known are a, b",
        ),
        ("data_sets.own.modality", "all", "data_sets.own.modality: expected a text other than 'all'"),
        ("data_sets.own.modality", None, "data_sets.own.modality: expected a text"),
        (
            "data_sets.own.source",
            {"type": "Folder"},
            "own.source.type: unknown source 'Folder'; did you mean 'folder'?",
        ),
        ("models.clip.source", {"type": "OpenClip"}, "unknown model format 'OpenClip'; did you mean 'open_clip'?"),
        ("data_sets.own.source", {"type": "folder", "name": "x"}, "data_sets.own.source.name: the data set's name is"),
        ("data_sets.own.source", {"type": "folder", "class_names": ["a"]}, "source.class_names: they are 'classes'"),
        (
            "data_sets.own.source",
            {"type": "folder", "filepath": "x", "siz": 9},
            "source: unknown 'siz'; did you mean 'size'?",
        ),
        ("data_sets.own.source", {"type": "folder", "file_path": "x"}, "data_sets.own.source: missing filepath"),
        ("data_sets.own.source", {"type": "npz", "file_path": "x"}, "unknown 'file_path'; did you mean 'filepath'?"),
        ("data_sets.blood.source.sed", 3, "data_sets.blood.source: unknown 'sed'; did you mean 'seed'?"),
        (
            "models.clip.source",
            {"type": "open_clip", "pth": "x"},
            "models.clip.source: unknown 'pth'; did you mean 'path'?",
        ),
        ("models.clip.source", {"type": "timm", "weights": "x"}, "models.clip.source: missing model"),
        ("data_sets.own.classes", ["a", "a "], "classes: expected at least two different class names, without space"),
        ("models", {"m" * 65: {"source": MODEL}}, "has at most 64"),
        ("adaptations.lora.fractions", [1e-9], "fractions: expected different numbers from 0.000001 to 1"),
        ("data_sets", {2024: {"modality": "x", "source": PHANTOM}}, "data_sets.2024: a name starts with a lower-case"),
        (
            "data_sets",
            {"2024": {"modality": "x", "source": PHANTOM}},
            "data_sets.2024: a name starts with a lower-case",
        ),
        ("models", {2024: {"source": MODEL}}, "baseline: unknown 'other'; known are 2024"),
        ("templates", ["{class_name!q}"], "'{class_name!q}' is not a template"),
        ("templates", ["{class_name:d}"], "'{class_name:d}' is not a template"),
        ("templates", ["{class_name:{x}}"], "'{class_name:{x}}' is not a template"),
        ("templates", ["{class_name"], "'{class_name' is not a template"),
        ("adaptations.lora.fractions", [0.2, 0.2], "expected different numbers"),
        (
            "adaptations.lora.fractions",
            [0.1, 0.10000001],
            "at 0.1 and adaptations.lora of clip at 0.10000001 would both",
        ),
        ("adaptations.more", {"method": "lora", "models": "all", "fractions": [0.10000001]}, "both be called 'k10'"),
        ("adaptations.lora.models", ["clip", "clip"], "a list of different model names"),
        (
            "models.clip_lora_k10_s0",
            {"source": MODEL},
            "lora of clip at 0.1 and models.clip_lora_k10_s0 would both be",
        ),
        ("models.clip_lora_k10", {"source": MODEL}, "models.clip_lora_k10 would both be called 'clip_lora_k10'"),
        ("seeds", [0, 0], "seeds"),
        ("seed", [0, 1], "unknown 'seed'; did you mean 'seeds'?"),
        ("adaptions", {}, "unknown 'adaptions'; did you mean 'adaptations'?"),
        ("protocl", "authors", "unknown 'protocl'; did you mean 'protocol'?"),
        ("read_togeter", True, "unknown 'read_togeter'; did you mean 'read_together'?"),
        ("check_only", True, "unknown 'check_only'; it is a command now: kedro check"),
        ("read_together", "perhaps", "read_together: expected true or false, found 'perhaps'"),
        ("evaluation", {"precision": "flaot32"}, "evaluation.precision: expected auto or float32, found 'flaot32'"),
        ("evaluation", {"precison": "auto"}, "evaluation: unknown 'precison'; did you mean 'precision'?"),
        ("evaluation", None, "evaluation: expected precision, found None"),
        ("corruption", {"sed": 3}, "corruption: missing seed"),
        ("tracking", {"log_best_adaptor": False}, "tracking: unknown 'log_best_adaptor'; did you mean"),
        ("pretraining", {"epochs": 3}, "pretraining: missing seed, images"),
        ("published", {"source": "x", "baseline": "y", "models": {"z": 3}}, "published.models: expected names mapped"),
        ("models", {}, "missing: models"),
        ("models", [], "models must map names to settings"),
        ("seeds", 0, "seeds: expected different integers of 0 or more, found 0"),
        ("templates", [], "templates: expected"),
        (
            "data_sets.own.corruptions",
            {"suite": "medimeta-c", "names": "all", "released": "x", "label_map": {0: "a", 1: "bb"}},
            "own.corruptions.label_map: unknown 'bb'; did you mean 'b'",
        ),
    ],
)
def test_a_wrong_plan_names_the_culprit(path, value, culprit):
    with pytest.raises(PlanError) as error:
        read_plan(changed(path, value))
    assert culprit in str(error.value)


@pytest.mark.parametrize(
    ("path", "value", "culprit"),
    [
        ("methods.lora.epoch", 3, "methods.lora: unknown 'epoch'; did you mean 'epochs'?"),
        ("methods.lora.epochs", 0, "methods.lora.epochs: expected an integer of 1 or more, found 0"),
        ("methods.lora.type", "loar", "methods.lora.type: unknown method 'loar'; did you mean 'lora'?"),
        ("methods.lora.type", ["lora"], "methods.lora.type: expected"),
        ("methods.lora", {"type": "lora", "epoch": 3}, "methods.lora: unknown 'epoch'"),
        ("methods", None, "methods: expected names"),
        ("methods.robust_lora", {"epochs": 3}, "methods.robust_lora.type: expected"),
        ("adaptations.lora.batch_norm", "thawed", "lora.batch_norm: expected frozen, adapted or batch, found 'thawed'"),
        ("adaptations.lora.learning_rate", "1e-3", "lora.learning_rate: expected a number"),
        ("adaptations.lora.targets", "visual.(", "regular expression"),
        ("adaptations.lora.flip", None, "lora.flip: expected true or false"),
        ("adaptations.lora.corruptions", {"suite": "imagenet-d", "names": ["fog"], "probability": 1}, "'imagenet-d'"),
        (
            "adaptations.lora.corruptions",
            {"suite": "imagenet-c", "names": ["rain"], "probability": 1},
            "lora.corruptions: unknown corruptions ['rain']",
        ),
        (
            "adaptations.lora.corruptions",
            {"suite": "imagenet-c", "names": ["fog"], "probability": 2},
            "lora.corruptions: probability must lie between 0 and 1, not 2",
        ),
        (
            "adaptations.lora.corruptions",
            {"suite": "imagenet-c"},
            "lora.corruptions: expected suite, names and probability",
        ),
        ("methods.lora.authors", {"features": "soft"}, "methods.lora.features: expected unit or raw, found 'soft'"),
        ("methods.lora.authors", "raw", "methods.lora.authors: expected settings, found 'raw'"),
        ("adaptations.lora.method", "robust_lora", "did you mean 'robust-lora'?"),
    ],
)
def test_wrong_settings_of_a_method_are_reported_with_the_rest(path, value, culprit):
    with pytest.raises(PlanError) as error:
        read_plan(changed(path, value) | {"baseline": "nobody"})
    assert culprit in str(error.value)
    assert "baseline" in str(error.value)


def test_scored_corruptions_that_the_tuning_sees_are_known():
    corruptions = {"suite": "imagenet-c", "names": ["fog", "contrast", "pixelate"], "probability": 0.5}
    seen = read_plan(changed("adaptations.lora.corruptions", corruptions))
    assert seen.seen_corruptions == ("contrast", "pixelate")
    assert read_plan(PARAMETERS).seen_corruptions == ()
    assert read_plan(changed("adaptations.lora.method", "robust-lora")).seen_corruptions == ()


def test_scored_corruptions_whose_relatives_the_tuning_sees_are_known():
    """Of gaussian_noise and pixelate, shot noise is a relative of the first."""
    assert read_plan(PARAMETERS).related_corruptions == {}
    scored = {"suite": "medimeta-c", "names": ["gaussian_noise", "motion_blur", "contrast"]}
    parameters = changed("corruptions", scored)
    parameters["adaptations"]["lora"]["corruptions"] = {
        "suite": "imagenet-c",
        "names": ["shot_noise"],
        "probability": 1,
    }
    assert read_plan(parameters).related_corruptions == {"gaussian_noise": ("lora",)}
    parameters["adaptations"]["lora"]["corruptions"]["names"] = ["glass_blur", "saturate"]
    assert read_plan(parameters).related_corruptions == {"motion_blur": ("lora",), "contrast": ("lora",)}


def test_the_authors_protocol_switches_models_and_methods():
    parameters = changed("models.clip.authors", ["normalised_twice"])
    fixed, authors = (read_plan(parameters | {"protocol": name}) for name in ("fixed", "authors"))
    assert fixed == read_plan(parameters)
    entries = [catalog_entries(plan, "/project") for plan in (fixed, authors)]
    assert entries[0]["model-clip"] | {"switches": ["normalised_twice"]} == entries[1]["model-clip"]
    assert entries[0]["model-other"] == entries[1]["model-other"]
    assert [plan.adaptations[0].method.features for plan in (fixed, authors)] == ["unit", "raw"]
    chosen = "the test images choose the epoch of lora"
    assert authors.protocol_summary == f"authors (clip: normalised_twice), {chosen}"
    assert read_plan(changed("adaptations.lora.select_on", "test")).protocol_summary == f"fixed, {chosen}"
    assert fixed.validates(0.1) and not authors.validates(0.1)


def test_the_pool_may_be_one_split():
    plan = read_plan(PARAMETERS | {"pool": ["val"]})
    assert plan.pool == ("val",) and plan.protocol_summary == "fixed, few-shot images of the val split alone"
    for wrong in ("val", [], ["test"], ["val", "val"], [["val"]]):
        with pytest.raises(PlanError, match="pool: expected train and val, or one of them in a list, found"):
            read_plan(PARAMETERS | {"pool": wrong})


def test_models_read_together_if_the_plan_says_so():
    assert not read_plan(PARAMETERS).read_together
    assert read_plan(PARAMETERS | {"read_together": True}).read_together
    with pytest.raises(PlanError, match="read_together: expected true or false, found 'yes'"):
        read_plan(PARAMETERS | {"read_together": "yes"})


def test_an_adaptation_may_change_settings_of_its_method():
    lora = {"method": "lora", "models": "all", "fractions": [0.1]}
    plan = read_plan(PARAMETERS | {"adaptations": {"study": lora, "longer": {**lora, "epochs": 40}}})
    study, longer = (adaptation.method for adaptation in plan.adaptations)
    assert (study.epochs, longer.epochs) == (20, 40)
    assert longer.model_copy(update={"epochs": 20}) == study


def test_prompts_need_no_labels_and_heads_need_some():
    adaptations = {
        "ensemble": {"method": "prompt-ensemble", "models": ["clip"]},
        "probe": {"method": "linear-probe", "models": ["clip"], "fractions": [0.1]},
    }
    plan = read_plan(PARAMETERS | {"adaptations": adaptations})
    assert [model.cell for model in plan.evaluated_models] == [
        "other",
        "clip",
        "clip_ensemble",
        "clip_probe_k10_s0",
        "clip_probe_k10_s1",
    ]
    ensemble, probe = plan.evaluated_models[2:4]
    nothing = {"rank": None, "fraction": None, "shots": None, "seed": None}
    assert ensemble.attributes == {"base": "clip", "adaptation": "ensemble", "method": "prompt-ensemble", **nothing}
    expected = {
        "base": "clip",
        "adaptation": "probe",
        "method": "linear-probe",
        "rank": None,
        "fraction": 0.1,
        "shots": None,
        "seed": 0,
    }
    assert probe.attributes == expected
    assert [model.artefact for model in plan.evaluated_models[1:4]] == [None, None, "head-clip_probe_k10_s0"]
    assert plan.seen_corruptions == () and len(plan.tuned_models) == 2


@pytest.mark.parametrize(
    ("adaptation", "culprit"),
    [
        ({"method": "prompt-ensemble", "fractions": [0.1]}, "x.fractions: 'prompt-ensemble' sees no labelled image"),
        ({"method": "linear-probe"}, "adaptations.x: missing fractions"),
        ({"method": "prompt-ensemble", "templates": ["an image"]}, "x.templates: 'an image' must contain {class_name}"),
        ({"method": "prompt-ensemble", "templates": "{class_name}"}, "x.templates: expected a list"),
        ({"method": "linear-probe", "fractions": [0.1], "rank": 8}, "adaptations.x: unknown 'rank'"),
        ({"method": "linear-probe", "fractions": [0.1], "l2_strength": [1]}, "did you mean 'l2_strengths'?"),
        ({"method": "linear-probe", "fractions": [0.1], "l2_strengths": [0]}, "l2_strengths: expected a list of"),
        ({"method": "cache-adapter", "fractions": [0.1], "alphas": 1}, "x.alphas: expected a list of different"),
    ],
)
def test_wrong_controls_name_the_culprit(adaptation, culprit):
    with pytest.raises(PlanError) as error:
        read_plan(PARAMETERS | {"adaptations": {"x": {"models": "all", **adaptation}}})
    assert culprit in str(error.value)


def test_all_problems_are_reported_at_once():
    wrong = changed("baseline", "nobody")
    wrong["seeds"] = []
    wrong["seeds"] = [-1]
    wrong["corruptions"]["names"] = ["fogg"]
    with pytest.raises(PlanError) as error:
        read_plan(wrong)
    assert all(str(error.value).count(word) == 1 for word in ("nobody", "fogg", "seeds:"))


@pytest.mark.parametrize(("fraction", "label"), [(0.1, "k10"), (0.01, "k1"), (0.005, "k0p5"), (1, "k100")])
def test_fraction_labels_are_safe_in_namespaces(fraction, label):
    assert fraction_label(fraction) == label


def test_shots_of_each_class_stand_beside_fractions():
    plan = read_plan(changed("adaptations.lora.shots", [4, 1]))
    assert plan.shots == (1, 4) and plan.fractions == (0.01, 0.1)
    names = dict.fromkeys(model.name for model in plan.tuned_models if model.base == "clip")
    assert list(names) == ["clip_lora_k1", "clip_lora_k10", "clip_lora_1shot", "clip_lora_4shot"]
    assert {model.few_shots for model in plan.tuned_models if model.shots == 4} == {
        "few_shots-4shot_s0",
        "few_shots-4shot_s1",
    }
    only = {"x": {"method": "linear-probe", "models": "all", "shots": [2]}}
    assert {model.amount for model in read_plan(PARAMETERS | {"adaptations": only}).tuned_models} == {"2shot"}
    for wrong in ([0], [1.5], [2, 2], 4):
        with pytest.raises(PlanError, match="adaptations.lora.shots: expected different integers of 1 or more"):
            read_plan(changed("adaptations.lora.shots", wrong))
