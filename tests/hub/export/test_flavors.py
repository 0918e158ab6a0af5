"""The serving flavor computes what the model computes, and cannot be trained."""

import platform

import keras
import numpy as np
import pytest
import tensorflow as tf
from unchecked import no_check

from hares_tf.commands import export as command
from hares_tf.hub import HubError, load, locate
from hares_tf.hub.export import conformance, export_module
from hares_tf.hub.export import exporter as export
from hares_tf.hub.export import module as hub_module
from hares_tf.hub.model_card import ModelCard
from hares_tf.models import create_model, folded_nfnet
from hares_tf.models.classifier import Classifier

# Whole exports, each of them checked in a process of its own.
pytestmark = pytest.mark.slow

RANDOM = {"source": "random"}
TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2}


@pytest.fixture(scope="module")
def model():
    """The tiny network with all its branches heard, no two of them alike."""
    keras.utils.set_random_seed(0)
    model = create_model("slowfast_nfnet_tiny")
    for index, variable in enumerate(model.trainable_variables):
        if variable.name == "skip_gain":
            variable.assign(0.5 + 0.1 * (index % 7))
    return model


@pytest.fixture(scope="module")
def classifier():
    dense = keras.layers.Dense(3)
    dense.build((None, 304))
    return Classifier(dense, ("a", "b", "c"))


@pytest.fixture(scope="module")
def folders(model, classifier, tmp_path_factory):
    """The serving flavor in both precisions."""
    root = tmp_path_factory.mktemp("flavors")
    for precision in TOLERANCES:
        hub_module.save(model, ModelCard({}), root / precision, classifier, "serving", precision)
    return root


@pytest.fixture(scope="module", params=TOLERANCES)
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def served(folders, precision):
    return load(folders / precision)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def deviation(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


class TestServing:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 159), (2, 16_000), (5, 9_037)])
    def test_equals_the_model(self, served, model, precision, shape):
        waveform = noise(*shape)
        wanted = np.asarray(model(waveform, training=False))
        assert deviation(served(waveform), wanted) < TOLERANCES[precision]

    def test_bfloat16_is_bfloat16(self, folders, model):
        waveform = noise(2, 9000)
        wanted = np.asarray(model(waveform, training=False))
        assert deviation(load(folders / "bfloat16")(waveform), wanted) > 1e-4

    def test_signatures_equal_the_model(self, served, model, classifier, precision):
        waveform = noise(2, 9000)
        embedding, frames = model.embedding_and_frames(waveform, training=False)
        wanted = {
            "embedding": np.asarray(embedding),
            "frames": np.asarray(frames),
            "logits": np.asarray(classifier.dense(embedding)),
        }
        padded = np.pad(waveform, [(0, 0), (0, 777)], constant_values=np.nan)
        lengths = tf.constant([9000, 9000], tf.int32)
        for name, inputs in {
            "serving_default": {"waveform": tf.constant(waveform)},
            "frames": {"waveform": tf.constant(waveform)},
            "with_lengths": {"waveform": tf.constant(padded), "lengths": lengths},
        }.items():
            found = served.signatures[name](**inputs)
            assert {"embedding", "logits"} <= set(found)
            for output, value in found.items():
                assert value.dtype == tf.float32
                assert deviation(value, wanted[output]) < TOLERANCES[precision], (name, output)
        assert set(served.signatures) == {"serving_default", "frames", "with_lengths", "wav_bytes"}

    def test_nothing_can_be_trained(self, served):
        assert list(served.trainable_variables) == list(served.regularization_losses) == []
        assert not any(variable.trainable for variable in served.variables)
        assert not hasattr(served, "train_fn") and not hasattr(served, "head_variables")
        waveform = noise(8, 2000)
        np.testing.assert_array_equal(served(waveform, training=True), served(waveform))

    def test_kernels_are_not_standardized_again(self, folders, precision, tiny_module):
        """The standardization is the one user of this operation."""
        raw = [name for name, _ in conformance.saved_operations(tiny_module)]
        folded = [name for name, _ in conformance.saved_operations(folders / precision)]
        assert "Rsqrt" in raw and "Rsqrt" not in folded
        assert len(folded) < len(raw)

    @pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN is for x86")
    def test_activations_are_fused(self, folders):
        """What the form of the 1x1 convolutions is for; a newer TensorFlow may recognize another.

        In bfloat16 only processors that have it fuse, so float32 is what is tested.
        """
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folders / "float32"))
            signature = meta.signature_def["serving_default"]
            options = tf.compat.v1.RunOptions(output_partition_graphs=True)
            metadata = tf.compat.v1.RunMetadata()
            session.run(
                signature.outputs["embedding"].name,
                {signature.inputs["waveform"].name: noise(1, 4000)},
                options,
                metadata,
            )
        # The graphs of the functions that the session calls are listed apart from its own.
        graphs = [*metadata.partition_graphs]
        for graph in metadata.function_graphs:
            graphs += [*graph.partition_graphs, graph.post_optimization_graph]
        nodes = [node for graph in graphs for node in graph.node]
        nodes += [n for g in graphs for f in g.library.function for n in f.node_def]
        fused = [node.attr["fused_ops"].list.s for node in nodes if "FusedMatMul" in node.op]
        assert sum(b"GeluApproximate" in operations for operations in fused) >= 10

    def test_conformance(self, folders, model, classifier, tmp_path, precision):
        cases = export.reference_cases(model)
        cases |= export.classifier_cases(classifier, cases)
        cases |= {"flavor": np.array("serving"), "precision": np.array(precision)}
        cases = {name: value for name, value in cases.items() if "1x60s" not in name}  # slow
        np.savez(tmp_path / "cases.npz", **cases)
        done = conformance.check(folders / precision, tmp_path / "cases.npz")
        assert any("none of which can be trained" in line for line in done)

    def test_conformance_of_frames(self, folders, model):
        cases = export.reference_cases(model)
        cases["frames/2x16000"] = cases["frames/2x16000"] + 0.2
        with pytest.raises(conformance.ConformanceError, match="frames deviates"):
            conformance._check_signatures(load(folders / "float32"), _Cases(cases))


class _Cases(dict):
    """As an opened npz file."""

    @property
    def files(self):
        return list(self)


def test_a_module_that_trains_is_no_serving_module(tiny_module):
    cases = {"waveform/training": noise(2, 2000)}
    with pytest.raises(conformance.ConformanceError, match="something to train"):
        conformance._check_frozen(load(tiny_module), cases)


class TestExport:
    def test_card_and_flags(self, tmp_path, monkeypatch):
        monkeypatch.setattr(export, "_fresh_process", no_check)
        arguments = ["--model=slowfast_nfnet_tiny", "--random_weights", f"--output={tmp_path}/m"]
        flags = ["--flavor=serving", "--precision=bfloat16"]
        assert command.main([*arguments, *flags]) == 0
        card = locate(tmp_path / "m").card
        assert (card["flavour"], card["precision"]) == ("serving", "bfloat16")
        assert 1e-4 < card["deviation_from_model"] < TOLERANCES["bfloat16"]
        assert "train_fn" not in card["interface"] and "wav_bytes" in card["interface"]
        assert not card["training_is_stochastic"]

    def test_card_of_the_reusable_flavor(self, tiny_module):
        card = locate(tiny_module).card
        assert (card["flavour"], card["precision"]) == ("reusable", "float32")
        assert "train_fn" in card["interface"] and card["frame_hop_samples"] == 640

    @pytest.mark.slow
    def test_an_encoder_without_parameters(self, tmp_path):
        """The whole export, with its check in a fresh process."""
        arguments = ["--model=log_mel_statistics", f"--output={tmp_path}/m", "--flavor=serving"]
        assert command.main(arguments) == 0
        waveform = noise(2, 3000)
        wanted = create_model("log_mel_statistics")(waveform)
        np.testing.assert_allclose(load(tmp_path / "m")(waveform), wanted, rtol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "word"),
        [
            (["--model=log_mel_statistics", "--precision=bfloat16"], "--flavor=serving"),
            (
                ["--model=log_mel_statistics", "--flavor=serving", "--precision=bfloat16"],
                "no bfloat16 form",
            ),
            (["--model=log_mel_statistics", "--flavor=tasty"], "reusable"),
        ],
    )
    def test_what_there_is_not(self, arguments, word, tmp_path, capsys):
        assert command.main([*arguments, f"--output={tmp_path}/m"]) == 2
        assert word in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("form", [("tasty", "float32"), ("serving", "float16")])
    def test_unknown_names_in_a_program(self, model, tmp_path, form):
        with pytest.raises(HubError, match="There is no"):
            export_module(model, tmp_path / "m", weights=RANDOM, flavor=form[0], precision=form[1])

    def test_wrong_folding_is_noticed_in_silent_branches(self, tmp_path, monkeypatch):
        """A fresh network's skip gains are 0: its outputs alone would not show the fault."""
        fresh = create_model("slowfast_nfnet_tiny")
        monkeypatch.setattr(folded_nfnet, "ALPHA", 0.21)
        with pytest.raises(HubError, match="deviates"):
            export_module(fresh, tmp_path / "m", weights=RANDOM, flavor="serving")
        assert list(tmp_path.iterdir()) == []
        gains = [v for v in fresh.trainable_variables if v.name == "skip_gain"]
        assert gains and all(float(gain) == 0 for gain in gains)
