"""Every command that README and docs show is run: here in one small project, or by a test or script that is named; or
it is listed with the reason why not.

A command of Kedro or of this package that a page gains is run without being added here.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from click.testing import CliRunner
from projects import ROOT, Project, without_figures
from published import write_biomedclip, write_text_tower
from shown import commands

from robustmedclip.commands import command_line

pytestmark = pytest.mark.slow

SHOWN = commands()
OURS = ("kedro ", "robustmedclip ")
#: Names of commands that need arguments.
NAMES = ("robustmedclip new", "robustmedclip compare", "robustmedclip publish", "kedro import-model")
#: What takes long, and is run by ``-m full`` alone.
LONG = ("kedro run --pipelines pretraining", "kedro run --pipeline benchmark --runner DaskRunner")
#: What another test runs: its file, and the call in it.
RUN_BY_TESTS = {
    "kedro check --env paper": ("io/sources/test_paper_formats.py", '.check("--env", "paper")'),
    "kedro run --env paper --pipeline benchmark": (
        "io/sources/test_paper_formats.py",
        '.run("--env", "paper", "--pipeline", "benchmark")',
    ),
    "pip wheel --no-deps --wheel-dir dist .": ("test_installation.py", '"pip", "wheel", "--quiet", "--no-deps"'),
}
#: Servers, which ``-m full`` alone starts, and where they answer.
SERVERS = {
    "kedro mlflow ui": "http://127.0.0.1:5000",
    "kedro viz run": "http://127.0.0.1:4141/api/main",
    "mkdocs serve": "http://127.0.0.1:8000",
}
CLUSTER = [line for line in SHOWN if line.startswith("dask ") or "<its host>" in line]
#: How those begin that are not run, and why.
NOT_RUN = {
    "cd": "a step on the way",
    "kedro ipython": "waits for what is typed; the tour runs what it would run",
    "mlflow models serve": "asks for the id of a logged model; tests of the served model ask one",
    "pip install": "what is installed where the tests run",
    "pre-commit install": "writes into a clone; a test of -m full runs the hooks",
    "py-spy record": "asks for the right to read another process",
    "pytest -m 'not slow'": "a part of this suite",
    "pytest -n 0 -m full": "eight minutes",
    "pytest tests/": "a part of this suite, or measures for minutes, or asks for a GPU",
    "python docs/gallery/acquisition_c.py": "writes a picture and a table of the docs",
}


def reasons(line: str) -> list[str]:
    """Why a command isn't run; assignments before it don't count."""
    words = " ".join(word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word))
    return [reason for key, reason in NOT_RUN.items() if words.startswith(" ".join(shlex.split(key)))]


ELSEWHERE = [line for line in SHOWN if line in (*RUN_BY_TESTS, *SERVERS, *CLUSTER) or reasons(line)]
HERE = [line for line in SHOWN if line.startswith(OURS) and line not in ELSEWHERE]
# Of an environment after the other, as each stores what is newer and of another plan; cells read what stages stored.
HERE.sort(key=lambda line: (re.findall(r"--env \w+", line), "--namespaces" in line))
OCT = {"type": "phantom", "anatomy": "oct", "domain": "hospital", "counts": {"train": 40, "test": 8}, "seed": 0}


def shrunk(plan: dict) -> dict:
    """A plan with a small data set, one corruption, one adaptation, and the small ResNet under every name."""
    models = [name for name in plan.get("models", ["phantom_vit"]) if name != "phantom_resnet"]
    name, adaptation = next(item for item in plan["adaptations"].items() if "fractions" in item[1])
    corruptions = plan.get("corruptions", {"suite": "medimeta-c"})
    return plan | {
        "data_sets": {"phantom_oct": {"modality": "retinal OCT", "source": OCT}},
        "corruptions": {**corruptions, "names": ["blink" if corruptions["suite"] == "acquisition-c" else "pixelate"]},
        "models": {
            model: {"source": {"type": "open_clip", "path": "package:models/phantom_resnet"}} for model in models
        },
        "adaptations": {name: {**adaptation, "models": [plan.get("baseline", "phantom_vit")], "fractions": [0.1]}},
        "metrics": ["error"],
        "seeds": [0],
    }


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A cache of the hub with a small BiomedCLIP under its name."""
    folder = tmp_path_factory.mktemp("hub")
    write_text_tower(folder / "bert")
    write_biomedclip(folder / "clip", folder / "bert")
    for name, repository in {
        "clip": "models--microsoft--BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        "bert": "models--microsoft--BiomedNLP-BiomedBERT-base-uncased-abstract",
    }.items():
        (folder / repository / "refs").mkdir(parents=True)
        (folder / repository / "refs/main").write_text("0")
        shutil.move(folder / name, folder / repository / "snapshots/0")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Project:
    """A project ``my-study`` all of whose plans are small, after a benchmark."""
    study = Project(tmp_path_factory.mktemp("studies") / "my-study")
    for file in study.folder.glob("conf/*/benchmark.yml"):
        file.write_text(yaml.safe_dump(shrunk(yaml.safe_load(file.read_text()))))
    for file in study.folder.glob("conf/base/parameters/*.yml"):
        text = re.sub(r"epochs: \d+", "epochs: 1", file.read_text())
        text = re.sub(r"(\w+): \d+000\b", r"\1: 20", text)  # images of pretraining
        file.write_text(text.replace("log_best_adapter: true", "log_best_adapter: false"))
    return study


@pytest.fixture(scope="module")
def run(study, hub) -> Iterator[Callable[[str], subprocess.CompletedProcess]]:
    """What a shown command prints and returns, in the project or the folder that it is in."""
    with without_figures():
        first = study.run("--pipeline", "benchmark")
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    (study.folder.parent / "empty").mkdir()
    shutil.copytree(study.folder / "data/08_reporting", study.folder.parent / "their-study/data/08_reporting")

    def ended(line: str) -> subprocess.CompletedProcess:
        if line == "kedro run --pipeline benchmark":
            return first
        program, *words = shlex.split(line)
        if line in NAMES:
            words.append("--help")
        if program == "kedro":
            return study.call(*words)
        with chdir(study.folder.parent / {"new": "empty", "check": "my-study"}.get(words[0], "")):
            result = CliRunner().invoke(command_line, words)
        return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)

    with patch("huggingface_hub.constants.HF_HUB_CACHE", str(hub)), without_figures():
        yield ended


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.full if line in LONG else (), id=line) for line in HERE]
)
def test_a_shown_command_runs(run, line):
    done = run(line)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("line", [line for line in SHOWN if line not in (*HERE, *ELSEWHERE)])
def test_a_command_of_other_programs_is_run_by_ci(line):
    assert line in (ROOT / ".ci/run").read_text(encoding="utf-8"), "run it here or there, or say in NOT_RUN why not"


@pytest.mark.parametrize(("file", "call"), RUN_BY_TESTS.values())
def test_the_test_that_is_named_runs_the_command(file, call):
    assert call in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_no_list_has_a_command_that_is_not_shown():
    assert {*NAMES, *LONG, *RUN_BY_TESTS, *SERVERS} <= {*SHOWN}
    assert {*NOT_RUN.values()} == {reason for line in SHOWN for reason in reasons(line)}


@contextmanager
def started(line: str, folder: Path, output: Path) -> Iterator[subprocess.Popen]:
    """A process that runs a shown command in a folder until the end of the block, and writes to a file."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "src"),
        "BROWSER": "true",
    }
    with open(output, "a") as stream:
        process = subprocess.Popen(
            shlex.split(line), cwd=folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.mark.full
@pytest.mark.parametrize(("line", "url"), SERVERS.items(), ids=SERVERS)
def test_a_shown_server_answers(run, study, tmp_path, line, url):
    output = tmp_path / "output.txt"
    with started(line, ROOT if line.startswith("mkdocs") else study.folder, output) as process:
        for _ in range(600):
            try:
                with urllib.request.urlopen(url) as answer:
                    assert answer.status == 200 and answer.read()
                return
            except OSError:
                assert process.poll() is None, output.read_text()
                time.sleep(0.1)
    pytest.fail(f"{url} doesn't answer")


@pytest.mark.full
def test_the_shown_cluster_runs_the_benchmark(study, tmp_path):
    output = tmp_path / "output.txt"
    with ExitStack() as processes:
        for line in CLUSTER:  # scheduler, worker, run
            last = processes.enter_context(started(line.replace("<its host>", "127.0.0.1"), study.folder, output))
        assert last.wait(timeout=300) == 0, output.read_text()
