"""The command hares-share: an archive that is a handle, and a page that says what is known."""

import hashlib
import json
import tarfile

import pytest
import tensorflow as tf
from finetune.toy_encoder import write_tones

from hares_tf.commands import share
from hares_tf.evaluation.published import TASKS
from hares_tf.hub import locate

CARD = {
    "name": "small_simclr",
    "description": "A network *for* tests.",
    "sample_rate": 16_000,
    "embedding_size": 2,
    "flavour": "reusable",
    "weights": {
        "source": "pretrained",
        "objective": "simclr",
        "step": 1200,
        "config": {"batch": 128, "crops": {"seconds": 1.5}},
        "data": {
            "name": "sounds",
            "n_clips": 4090,
            "seconds": 7200.0,
            "content_hash": "61c879",
            "source": {"kind": "tasks", "tasks": [{"task": "mini_audioset"}, {"task": "esc50"}]},
        },
    },
    "interface": {"__call__": "waveform [batch, samples] -> embedding"},
    "notes": ["Gains are 0."],
}


def make_module(folder, card):
    folder.mkdir()
    path = folder / "model_card.json"
    path.write_text(json.dumps(card))
    module = tf.Module()
    module.card = tf.saved_model.Asset(str(path))

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="waveform")])
    def serve(waveform):
        return {"embedding": tf.ensure_shape(waveform[:, :2], [None, 2])}

    tf.saved_model.save(module, str(folder / "m"), signatures={"serving_default": serve})
    return folder / "m"


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return make_module(tmp_path_factory.mktemp("share") / "small", CARD)


def write_result(folder, fingerprint, task, score, name="small_simclr", complete=True):
    data = {
        "schema": 2,
        "key": task,
        "score": score,
        "interval": [score - 2, score + 3],
        "complete": complete,
        "incomplete_because": [] if complete else ["3 clip(s) could not be read"],
        "task": {"id": task, "domain": TASKS[task].domain, "suite": "hares", "metric": "accuracy"},
        "protocol": {"identity": "fast/1"},
        "model": {"name": name, "fingerprint": fingerprint},
    }
    path = folder / "fast" / name / f"{task}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def test_archive(module, tmp_path, capsys):
    output = tmp_path / "small.tar.gz"
    assert share.main([str(module), f"--archive={output}"]) == 0
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"{output}: {digest}\n"
    assert (tmp_path / "small.tar.gz.sha256").read_text() == f"{digest}  small.tar.gz\n"
    found = locate(output)
    assert found.name == "small_simclr" and found.content_hash() == locate(module).content_hash()
    # An archive is a handle, and packs to itself.
    again = tmp_path / "again.tar.gz"
    assert share.main([str(output), f"--archive={again}"]) == 0
    assert again.read_bytes() == output.read_bytes()
    with tarfile.open(output) as tar:
        assert "saved_model.pb" in tar.getnames()


def test_page(module, tmp_path):
    content = locate(module).content_hash()
    write_result(tmp_path / "results", content, "esc50", 61.25)
    write_result(tmp_path / "results", content, "birdsong", 70.0, complete=False)
    write_result(tmp_path / "results", "0" * 64, "esc50", 99.0, name="another")
    page, archive = tmp_path / "small.md", tmp_path / "small.tar.gz"
    arguments = [f"--card={page}", f"--results={tmp_path}/results", "--license=CC-BY-4.0"]
    assert share.main([str(module), f"--archive={archive}", *arguments]) == 0
    text = page.read_text()
    assert text.startswith("# small\\_simclr\n\nA network \\*for\\* tests.\n\n## Intended use\n")
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        *("Intended use", "Interface", "Training data", "HARES scores", "Limits", "License"),
        "Integrity",
    ]
    lines = text.splitlines()
    signature = "| serving\\_default | waveform float32 \\[?, ?\\] | embedding float32 \\[?, 2\\] |"
    assert signature in lines
    assert "- 4090 recordings, 2.0 hours" in lines
    assert "- training recordings of mini\\_audioset, esc50" in lines
    assert "- objective: simclr" in lines and "- 1200 steps of 128 crops" in lines
    assert "- crops of 1.5 seconds" in lines and "- Gains are 0." in lines
    (esc50,) = [line for line in lines if line.startswith("| ESC-50")]
    assert esc50.endswith("| 61.2 (59.2–64.2) |"), "nothing of the other model"
    assert "incomplete: 3 clip(s) could not be read" in text
    # Two of twelve scores are no total.
    (total,) = [line for line in lines if line.startswith("| HARES total")]
    assert "| – " in total
    assert "CC-BY-4.0 (the weights" in text
    assert hashlib.sha256(archive.read_bytes()).hexdigest() in text
    assert "fast/1" in text and str(tmp_path) not in text


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"source": "random", "seed": 0}, "the weights are random"),
        ({"source": "none: the encoder has no parameters"}, "has no parameters"),
        (
            {"source": "haiku_parameters", "file": "f0.npz", "sha256": "ab12"},
            "not recorded in the module. What is:\n\n- source: haiku\\_parameters\n- file: f0.npz",
        ),
    ],
)
def test_weights_of_other_origins(weights, words, tmp_path):
    module = make_module(tmp_path / "small", {**CARD, "weights": weights})
    assert share.main([str(module), f"--card={tmp_path}/m.md", "--license=MIT"]) == 0
    text = (tmp_path / "m.md").read_text()
    assert words in text.split("## Training data")[1].split("## HARES scores")[0]
    assert "has not been scored" in text


def test_page_of_a_fine_tuned_module(module, tmp_path):
    """As hares-finetune writes it: of a pretrained source, and of a source that was fine-tuned."""
    from hares_tf.finetune import Settings, finetune, read_recordings

    recordings = read_recordings(write_tones(tmp_path / "tones", clips=5))
    head_alone = Settings(epochs=0)
    first = finetune(module, recordings, tmp_path / "first", settings=head_alone)
    done = finetune(first.output, recordings, tmp_path / "second", settings=head_alone, name="2nd")
    page = tmp_path / "m.md"
    assert share.main([str(done.output), f"--card={page}", "--license=MIT"]) == 0
    text = page.read_text()
    assert "- telling apart the 2 classes it was fine-tuned on" in text
    assert "tested on windows of 0.1 seconds" in text and "one sample to 60" not in text
    own, source, first_source = (
        text.split("## Training data\n")[1].split("## HARES")[0].split("\n### ")
    )
    result = done.report["results"]["fine_tuned"]
    low, high = result["interval"]
    assert own.strip().splitlines() == [
        "- fine-tuned from small\\_simclr\\_finetuned, content hash "
        f"`{locate(first.output).content_hash()}`",
        "- recordings: 6 train, 2 validation, 2 test, 1.0 seconds",
        "- 2 classes: high, low",
        "- folders: tones",
        "- only the head was trained; the encoder is its source's",
        f"- held-out accuracy: {result['accuracy']:.1f}% (95% interval {low:.1f}–{high:.1f}) on "
        "2 test recordings",
        f"- content hash of the clips: `{done.report['data']['content_hash']}`",
    ]
    assert source.startswith("Training data of its source, small\\_simclr\\_finetuned\n")
    assert (
        f"fine-tuned from small\\_simclr, content hash `{locate(module).content_hash()}`" in source
    )
    assert first_source.startswith("Training data of its source, small\\_simclr\n")
    assert "- 4090 recordings, 2.0 hours" in first_source and "- objective: simclr" in first_source
    assert "?" not in own + source + first_source


def test_fine_tuned_modules_with_many_classes_and_an_unknown_source(tmp_path):
    weights = {
        "source": "fine-tuned",
        "from": {"name": "yamnet", "content_hash": "<b>"},
        "data": {"clips_by_class": {f"class {n}": 9 for n in range(21)}},
        "epochs_kept": 3,
    }
    module = make_module(tmp_path / "small", {**CARD, "weights": weights})
    assert share.main([str(module), f"--card={tmp_path}/m.md", "--license=MIT"]) == 0
    lines = (tmp_path / "m.md").read_text().splitlines()
    assert "- 21 classes" in lines, "without their names"
    assert "- encoder and head trained together for 3 epochs" in lines
    assert "- fine-tuned from yamnet, content hash &lt;b&gt;" in lines
    after = lines[lines.index("### Training data of its source, yamnet") + 1 :]
    assert after[1] == "Not recorded in the module."


def test_hostile_cards_are_text(tmp_path):
    card = {**CARD, "name": "<script>alert(1)</script>\n# x", "notes": ["[click](http://evil)"]}
    module = make_module(tmp_path / "small", card)
    assert share.main([str(module), f"--card={tmp_path}/m.md", "--license=MIT"]) == 0
    text = (tmp_path / "m.md").read_text()
    assert "<script>" not in text and "[click](" not in text and "\n# x" not in text


def test_a_card_of_endless_sources_ends(tmp_path):
    weights = {"source": "random"}
    for _ in range(300):
        weights = {"source": "fine-tuned", "from": {"name": "an older one", "weights": weights}}
    module = make_module(tmp_path / "deep", {**CARD, "weights": weights})
    assert share.main([str(module), f"--card={tmp_path}/m.md", "--license=MIT"]) == 0
    assert 1 < (tmp_path / "m.md").read_text().count("an older one") < 50


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--archive=m.tar.gz"], "--handle is required."),
        (["MODULE"], "--card=FILE.md"),
        (["MODULE", "--card=m.md"], "--license"),
        (["MODULE", "--card=m.html", "--license=MIT"], "ends in .md"),
        (["MODULE", "--archive=m.zip"], "end in .tar.gz"),
        (["MODULE", "--archive=m.tar.gz", "--results=r"], "--results goes with --card"),
        (["MODULE", "--card=m.md", "--license=MIT", "--results=r"], "r: There is no such folder"),
        (["MODULE", "--card=m.md", "--license=MIT", "--results=others"], "only of another"),
        (["/no/such/module", "--archive=m.tar.gz"], "no such folder"),
        (["python:json:loads", "--archive=m.tar.gz"], "is not a SavedModel"),
        (["NO_CARD", "--card=m.md", "--license=MIT"], "no model card of hares-export"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(
    arguments, word, module, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_result(tmp_path / "others", "0" * 64, "esc50", 99.0, name="another")
    if "NO_CARD" in arguments:
        make_module(tmp_path / "plain", {"name": "yamnet"})
    places = {"MODULE": str(module), "NO_CARD": "plain/m"}
    assert share.main([places.get(argument, argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert word in captured.err and "Traceback" not in captured.err and captured.out == ""
    assert not list(tmp_path.glob("m.*"))
