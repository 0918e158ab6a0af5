"""Damaged modules: missing files are named, and a damaged cached download is replaced."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import tensorflow as tf

from hares_tf.hub import HubError, archive, locate, saved_model

pytestmark = pytest.mark.usefixtures("own_cache")


class TestSavedModel:
    @pytest.mark.parametrize(
        "part",
        [
            "saved_model.pb",
            "assets/words.txt",
            "variables/variables.index",
            "variables/variables.data-00000-of-00001",
        ],
    )
    def test_names_what_is_missing(self, part, small_module, tmp_path):
        copy = tmp_path / "m"
        shutil.copytree(small_module, copy)
        assert saved_model.missing_part(copy) is None
        (copy / part).unlink()
        assert saved_model.missing_part(copy).split("*")[0] in part

    def test_variables_altogether_and_a_cut_graph(self, small_module, tmp_path):
        copy = tmp_path / "m"
        shutil.copytree(small_module, copy)
        shutil.rmtree(copy / "variables")
        assert saved_model.missing_part(copy) == "variables/variables.index"
        (copy / "saved_model.pb").write_bytes((copy / "saved_model.pb").read_bytes()[:200])
        assert saved_model.missing_part(copy) == "saved_model.pb"

    def test_a_module_of_nothing_is_whole(self, tmp_path):
        tf.saved_model.save(tf.Module(), str(tmp_path / "m"))
        assert saved_model.missing_part(tmp_path / "m") is None


class TestRemote:
    """tensorflow_hub against a server of this test."""

    @pytest.fixture
    def handle(self, packed, tmp_path, monkeypatch):
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))

        class Files(SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(packed.parent)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/m.tar.gz"
        server.shutdown()
        server.server_close()

    def test_a_cached_copy_that_lost_files_is_fetched_again(self, handle, small_module, packed):
        first = locate(handle)
        assert first.content_hash() == locate(small_module).content_hash()
        for lost in ("saved_model.pb", "assets/words.txt", "variables/variables.index"):
            (first.path / lost).unlink()
            assert locate(handle).content_hash() == first.content_hash()
        packed.unlink()
        assert locate(handle).path == first.path, "a whole copy needs no network"
        (first.path / "saved_model.pb").unlink()
        with pytest.raises(HubError, match=r"has lost saved_model.pb, and .* cannot be fetched"):
            locate(handle)
        # What is left stays where it was.
        assert (first.path / "assets" / "words.txt").is_file()
        left = [path.name for path in first.path.parent.iterdir() if "incomplete" in path.name]
        assert left == []

    def test_what_is_published_broken_stays_an_error(self, handle, small_module, packed, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(small_module, copy)
        (copy / "variables" / "variables.index").unlink()
        archive.pack(copy, packed)
        with pytest.raises(HubError, match=r"is broken .no variables/variables.index"):
            locate(handle)

    def test_a_folder_of_the_user_is_never_touched(self, small_module, tmp_path, monkeypatch):
        mine = tmp_path / "mine"
        shutil.copytree(small_module, mine)
        (mine / "saved_model.pb").unlink()
        monkeypatch.setattr("tensorflow_hub.resolve", lambda handle: str(mine))
        with pytest.raises(HubError, match="is broken"):
            locate("https://example.org/m/1")
        assert (mine / "assets" / "words.txt").is_file()
