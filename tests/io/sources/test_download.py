"""Downloads from a server that does what servers do."""

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread

import numpy as np
import pytest
from kedro.io import DatasetError
from medmnist import INFO
from released_collections import medmnist_arrays

from robustmedclip.io import MedMNISTDataset


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how the file is served."""

    def do_GET(self):
        content, way = self.server.content, self.path.split("/")[1]
        self.server.asked.append(self.headers["Range"])
        start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if "ranges" in way else 0
        if way == "redirected":
            self.send_response(302)
            self.send_header("Location", "/ranges/breastmnist.npz")
        elif way == "absent" or (way == "once-ranges" and len(self.server.asked) > 1):
            self.send_error(404)
        elif start >= len(content):
            self.send_error(416)
        else:
            self.send_response(206 if self.headers["Range"] and "ranges" in way else 200)
            if way != "unsized":
                self.send_header("Content-Length", str(10**18 if way == "huge" else len(content) - start))
        self.end_headers()
        breaks_off = "broken" in way or "once" in way
        sent = bytes(len(content)) if way == "other" else content[start:][: len(content) // 3 if breaks_off else None]
        self.wfile.write(b"" if way in ("redirected", "absent") else sent)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with a ``breastmnist.npz`` of 30,000 bytes, and its checksum in place of the released one's."""
    np.savez(file := BytesIO(), **medmnist_arrays("breastmnist", (10, 10, 10)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.asked = file.getvalue().ljust(30_000, b"\0"), []
        monkeypatch.setitem(INFO["breastmnist"], "MD5", hashlib.md5(server.content).hexdigest())
        server.handle_error = lambda *args: None  # clients that have seen enough
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def source(server, tmp_path, monkeypatch):
    """The source that downloads it, by how it is served."""

    def make(way: str, folder: str = ".") -> MedMNISTDataset:
        url = f"http://127.0.0.1:{server.server_port}/{way}/breastmnist.npz?download=1"
        monkeypatch.setitem(INFO["breastmnist"], "url", url)
        return MedMNISTDataset(
            name="set", modality="x", flag="breastmnist", filepath=str(tmp_path / folder), download=True
        )

    return make


@pytest.mark.parametrize(
    ("way", "before", "asked"),
    [
        ("plain", {}, [None]),
        ("unsized", {}, [None]),
        ("redirected", {}, [None, None]),
        ("broken-ranges", {}, [None, "bytes=10000-", "bytes=20000-"]),
        ("plain", {".breastmnist.npz.partial": 15_000}, ["bytes=15000-"]),
        ("redirected", {".breastmnist.npz.partial": 15_000}, ["bytes=15000-"] * 2),
        ("ranges", {".breastmnist.npz.partial": 30_000}, ["bytes=30000-"]),
        ("plain", {"breastmnist.npz": 15_000}, [None]),
        ("plain", {"breastmnist.npz": 30_000}, []),
    ],
)
def test_the_file_arrives_whole(server, source, tmp_path, way, before, asked):
    for name, size in before.items():
        (tmp_path / name).write_bytes(server.content[:size])
    assert len(source(way).load()["test"]) == 10
    assert (tmp_path / "breastmnist.npz").read_bytes() == server.content
    assert not (tmp_path / ".breastmnist.npz.partial").exists()
    assert server.asked == asked


@pytest.mark.parametrize("damaged", [False, True], ids=["absent before", "damaged before"])
@pytest.mark.parametrize(
    ("way", "reason", "kept"),
    [
        ("absent", "HTTP Error 404", 0),
        ("once-ranges", "HTTP Error 404", 10_000),
        ("broken", "broke off 20000 bytes before the end", 10_000),
        ("other", "the MD5 of what arrived is [0-9a-f]{32}, not", None),
        ("huge", "needs 1000000000.0 GB", 0),
    ],
)
def test_a_failure_names_file_and_address_and_leaves_no_half_file(server, source, tmp_path, way, reason, kept, damaged):
    file, partial = tmp_path / "breastmnist.npz", tmp_path / ".breastmnist.npz.partial"
    if damaged:
        file.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=rf"'set': http://.*/{way}/breast.*{reason}.*{file} \(MD5"):
        source(way).load()
    assert file.exists() == damaged and (not damaged or file.read_bytes() == b"damaged")
    assert (partial.stat().st_size if partial.exists() else None) == kept


def test_a_folder_that_cannot_be_written_is_named(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"can't be downloaded \(.*file.*/file/breastmnist\.npz \(MD5"):
        source("plain", "file").load()
