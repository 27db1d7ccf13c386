"""The import command: what it writes is the model, whole, in one folder, and loads with nothing else."""

import json
import re
import shutil
import socket
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from model_sources import model_dataset
from published import (
    write_biomedclip,
    write_clip,
    write_medclip,
    write_pmcclip,
    write_text_tower,
    write_transformers,
    write_unimedclip,
)

from robustmedclip.commands.import_model import import_model, import_model_command

pytestmark = pytest.mark.slow

TEXTS = ["a chest x-ray of pneumonia", "normal"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked for a network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def published(tmp_path) -> Path:
    """Where everything lies that a model is imported from."""
    (tmp_path / "published").mkdir()
    write_text_tower(tmp_path / "published" / "bert")
    return tmp_path / "published"


def write(kind: str, root: Path) -> list[str]:
    """A checkpoint of this kind; what the command is given for it."""
    bert, folder = root / "bert", root / kind
    layout = ["--text", str(bert), "--weights"]
    if kind == "clip":
        write_clip(folder, "resnet")
        return ["--path", str(folder)]
    if kind == "biomedclip":
        write_biomedclip(folder, bert)
        return ["--path", str(folder)]
    if kind == "unimedclip":
        file = root / "unimed_clip_vit_b16.pt"
        write_unimedclip(file, bert)
        return ["--layout", "unimedclip", *layout, str(file)]
    if kind == "pmcclip":
        write_pmcclip(folder)
        return ["--layout", "pmcclip", *layout, str(folder)]
    family, _, variant = kind.partition("-")
    if family == "medclip":
        write_medclip(folder, variant)
        return ["--layout", "medclip", *layout, str(folder)]
    write_transformers(folder, variant)
    return ["--transformers", str(folder)]


KINDS = [
    "clip",
    "biomedclip",
    "unimedclip",
    "medclip-vit",
    "medclip-resnet",
    "pmcclip",
    "transformers-clip",
    "transformers-siglip",
]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(import_model_command, list(map(str, arguments)))


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_model_needs_nothing_but_its_folder(tmp_path, published, kind):
    folder = tmp_path / "models" / "imported"
    entry = yaml.safe_load(
        command(folder, *write(kind, published), "--licence", "CC-BY-4.0").output.partition("\n\n")[2]
    )["models"]["imported"]["source"]
    card = (folder / "README.md").read_text()
    facts = yaml.safe_load(card.split("---")[1])
    original = model_dataset(facts["source"]).load()

    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    shutil.rmtree(published)
    entry = {key: value.replace(str(folder), str(moved)) for key, value in entry.items()}
    model = model_dataset(entry).load()

    assert facts["license"] == "CC-BY-4.0"
    assert facts["content_hash"] == model.content_hash() == original.content_hash()
    assert (model.preprocess, model.logit_scale) == (original.preprocess, original.logit_scale)
    pixels = torch.randn(2, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(model.encode_image(pixels), original.encode_image(pixels), atol=0, rtol=0)
    torch.testing.assert_close(model.encode_text(TEXTS), original.encode_text(TEXTS), atol=0, rtol=0)
    assert not [file for file in moved.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl")]


def test_nothing_is_left_of_an_import_that_fails(tmp_path, published):
    folder = tmp_path / "models" / "imported"
    for arguments in (
        ["--path", str(published / "gone")],
        ["--path", str(published / "bert")],
    ):
        assert command(folder, *arguments).exit_code == 1
    arguments = write("clip", published)
    (published / "clip" / "open_clip_pytorch_model.bin").write_bytes(b"PK cut off")
    assert re.fullmatch(rf"Error: {published}/clip/.* is damaged or cut off.*\n", command(folder, *arguments).output)
    assert not folder.parent.exists() or not list(folder.parent.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layout", "medclip", "--weights", "w", "--pretrained", "openai"], "--pretrained does not go with --layout"),
        (["--path", "p", "--text", "t"], "--text does not go with --path"),
        (["--layout", "medclip"], "--layout needs --weights"),
        (["--path", "p", "--quick-gelu"], "--quick-gelu does not go with --path"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments, message):
    result = command("folder", *arguments)
    assert result.exit_code == 2 and result.output.endswith(f"Error: {message}\n")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("My-CLIP.v2", "my_clip_v2"),
        ("all", "model_all"),
        ("2024-clip", "model_2024_clip"),
        ("CLIP", "clip"),
        ("--", "model"),
    ],
)
def test_the_entry_has_a_name_that_the_plan_takes_and_a_path_that_works_from_anywhere(
    tmp_path, monkeypatch, published, folder, name
):
    write("clip", published)
    monkeypatch.chdir(published)
    ((printed, model),) = yaml.safe_load(command("--path", "clip", "--", folder).output.partition("\n\n")[2])[
        "models"
    ].items()
    assert printed == name
    monkeypatch.chdir(tmp_path)
    assert model_dataset(model["source"]).problems() == []


def test_a_path_in_the_project_is_given_from_its_root(monkeypatch, published):
    arguments = write("clip", published)
    (published / "pyproject.toml").write_text(
        "[tool.kedro]\npackage_name='x'\nproject_name='x'\nkedro_init_version='1.0'\n"
    )
    (published / "deeper").mkdir()
    monkeypatch.chdir(published / "deeper")
    entry = yaml.safe_load(command("../imported", *arguments).output.partition("\n\n")[2])["models"]["imported"][
        "source"
    ]
    assert entry == {"type": "open_clip", "path": "imported"}
    assert model_dataset(entry, root=str(published)).problems() == []


@pytest.mark.parametrize("folder", ["file/models/imported", "file/imported"])
def test_a_folder_that_cannot_be_made_is_named_in_one_line(tmp_path, published, folder):
    (tmp_path / "file").touch()
    output = command(tmp_path / folder, *write("clip", published)).output
    assert re.fullmatch(rf"Error: {tmp_path}/{folder} can't be written \(.*\): choose another folder.*\n", output)


def test_an_entry_that_is_wrong_is_named_in_one_line(tmp_path):
    output = command(tmp_path / "imported", "--model", "hf-hub:a/b", "--pretrained", "openai").output
    assert re.fullmatch(
        r"Error: The model is not described as it should be: hf-hub:a/b brings its own weights.*\n", output
    )


def test_a_folder_that_exists_is_kept(tmp_path, published):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        import_model({"type": "open_clip", "path": "x"}, tmp_path / "mine")


def test_an_activation_that_a_file_does_not_say_is_asked_for(tmp_path):
    (tmp_path / "tuned.pt").touch()
    arguments = [str(tmp_path / "imported"), "--model", "ViT-B-32", "--pretrained", str(tmp_path / "tuned.pt")]
    assert "(--quick-gelu or --no-quick-gelu to import it)" in command(*arguments).output
    for option in ("--quick-gelu", "--no-quick-gelu"):
        assert "tuned.pt is damaged or cut off" in command(*arguments, option).output


@pytest.mark.parametrize("option", ["--quick-gelu", "--no-quick-gelu"])
def test_the_activation_is_part_of_what_is_written(tmp_path, published, option):
    write("clip", published)
    config = json.loads((published / "clip/open_clip_config.json").read_text())["model_cfg"]
    (published / "tiny-resnet.json").write_text(json.dumps(config))
    open_clip.add_model_config(published / "tiny-resnet.json")
    weights = str(published / "clip/open_clip_pytorch_model.bin")
    result = command(str(tmp_path / "imported"), "--model", "tiny-resnet", "--pretrained", weights, option)
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "imported/open_clip_config.json").read_text())
    assert written["model_cfg"]["quick_gelu"] is (option == "--quick-gelu")
