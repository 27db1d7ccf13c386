"""Names of the catalog's entries: the one place that knows how they are spelled."""


def raw(data_set: str) -> str:
    """The source of a data set's images."""
    return f"raw-{data_set}"


def released(data_set: str) -> str:
    """Corrupted images that somebody else made and released."""
    return f"released-{data_set}"


def model(name: str) -> str:
    """A model's weights."""
    return f"model-{name}"


def pool(data_set: str) -> str:
    """The training pool of a data set."""
    return f"pool-{data_set}"


def test(data_set: str) -> str:
    """The test split of a data set."""
    return f"test-{data_set}"


def groups(data_set: str) -> str:
    """Which groups each test image of a data set belongs to."""
    return f"groups-{data_set}"


def card(data_set: str) -> str:
    """What a data set holds and where it comes from."""
    return f"card-{data_set}"


def examples(data_set: str) -> str:
    """A picture of each class of a data set."""
    return f"examples-{data_set}"


def corrupted(data_set: str) -> str:
    """A test set under every condition."""
    return f"corrupted-{data_set}"


def likeness(data_set: str) -> str:
    """How like their originals the images of a data set stay at each severity."""
    return f"likeness-{data_set}"


def hashes(data_set: str) -> str:
    """Perceptual hashes of a data set's images."""
    return f"hashes-{data_set}"


def few_shots(cell: str) -> str:
    """The few-shot images of a fraction and seed."""
    return f"few_shots-{cell}"


def shot_features(cell: str, key: str) -> str:
    """Features of few-shot images of a model, which heads that look at them alike share."""
    return f"shot_features-{cell}-{key}"


def checkpoint(cell: str) -> str:
    """The state of a training that is under way."""
    return f"checkpoint-{cell}"


def artefact(kind: str, cell: str) -> str:
    """What an adaptation leaves behind: its `kind` is that of the method, ``adapter`` or ``head``."""
    return f"{kind}-{cell}"


def history(cell: str) -> str:
    """Training curves, or what a search compared."""
    return f"history-{cell}"


def features(model: str, data_set: str) -> str:
    """Image features of a zero-shot model."""
    return f"features-{model}-{data_set}"


def float32_features(model: str, data_set: str) -> str:
    """Image features of a zero-shot model in float32, of some images, to compare with those of another precision."""
    return f"float32_features-{model}-{data_set}"


def precision(cell: str, data_set: str) -> str:
    """What the precision of a run changes of a model's decisions on a data set."""
    return f"precision-{cell}-{data_set}"


def logits(cell: str, data_set: str) -> str:
    """Scores of a model on a data set under every condition."""
    return f"logits-{cell}-{data_set}"


def temperatures(cell: str) -> str:
    """The temperature of a model on each data set."""
    return f"temperatures-{cell}"


def shard(entry: str, number: int) -> str:
    """A part of an entry of features or logits, from 1: ``logits_shard-<cell>-<data set>-1``."""
    kind, of = parts(entry)
    return f"{kind}_shard-{of}-{number}"


def cell(entry: str) -> str:
    """The model or seed that an entry of the stages of tuning and evaluation is about."""
    return parts(entry)[1].partition("-")[0]


def corpus(anatomy: str) -> str:
    """The pretraining images of an anatomy."""
    return f"corpus-{anatomy}"


def pretrained(model: str) -> str:
    """The folder of a model that the project trains."""
    return f"pretrained-{model}"


def spoken(entry: str) -> str:
    """An entry as messages name it: ``corrupted phantom_oct``."""
    return entry.replace("-", " ", 1)


def parts(entry: str) -> tuple[str, str]:
    """Kind of an entry, and what it is of: ``("corrupted", "phantom_oct")``."""
    kind, _, of = entry.partition("-")
    return kind, of
