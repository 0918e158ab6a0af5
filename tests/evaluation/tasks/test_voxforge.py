"""VoxForge: languages and the split of tensorflow-datasets, from archives in place or unpacked."""

import io
import tarfile

import numpy as np
import pytest
import soundfile

from hares_tf.evaluation.tasks.declaration import Places
from hares_tf.evaluation.tasks.voxforge import LANGUAGES, N_ARCHIVES, TASKS, split_speakers
from hares_tf.utils.errors import HaresError

(TASK,) = TASKS
BASE = "www.repository.voxforge1.org/downloads/{}/Trunk/Audio/Main/16kHz_16bit/"
# Ten speakers; one recorded twice, "anonymous" in two languages.
NAMES = {
    "anna-20080101-aaa": "de",
    "anna-20090101-aab": "de",
    "bob-20080101-bbb": "en",
    "carla-20080101-ccc": "es",
    "dan-20080101-ddd": "fr",
    "Eva_1-20080101-eee": "it",
    "fjodor-20080101-fff": "ru",
    "anonymous-20080101-ggg": "ru",
    "anonymous-20080101-hhh": "en",
    "ines-20080101-iii": "it",
    "jan-20080101-jjj": "de",
    "kim-20080101-kkk": "fr",
}
NOT_NAMED = f"{N_ARCHIVES - len(NAMES)} archives that voxforge_urls.txt does not name"


def wav(samples=400):
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(samples, "float32"), 16_000, format="WAV")
    return stream.getvalue()


def members(stem):
    return {
        f"{stem}/wav/b.wav": wav(200),
        f"{stem}/wav/a.wav": wav(),
        f"{stem}/wav/._a.wav": b"a file system's note",
        f"{stem}/wav/c.WAV.txt": b"",
        f"{stem}/etc/PROMPTS": b"a ONE TWO",
        f"{stem}/LICENSE": b"GPL",
    }


def pack(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def unpack(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def address(stem, language):
    return BASE.format(language) + f"{stem}.tgz"


@pytest.fixture
def root(tmp_path):
    """Everything as `wget -x` leaves it."""
    root = tmp_path / "voxforge"
    for stem, language in NAMES.items():
        pack(root / address(stem, language), members(stem))
    (root / "voxforge_urls.txt").write_text("".join(f"{address(*e)}\n" for e in NAMES.items()))
    return root


def listing(manifest):
    return [(clip.id, clip.label, clip.part) for clip in manifest.clips]


def expected_listing():
    tfds = pytest.importorskip("tensorflow_datasets.audio.voxforge")
    splits = tfds._get_inter_splits_by_group(
        [(stem, stem.split("-")[0]) for stem in NAMES],
        [("train", 0.7), ("validation", 0.1), ("test", 0.2)],
        0,
    )
    part_of = {stem: part for part, stems in splits.items() for stem in stems}
    return [
        (f"{stem}/wav/{name}.wav", language, part_of[stem])
        for stem, language in NAMES.items()
        for name in "ab"
    ]


def test_archives_are_read_in_place_and_split_as_tensorflow_datasets_does(root, tmp_path):
    manifest = TASK.read(Places(tmp_path))
    assert listing(manifest) == expected_listing()
    assert manifest.labels.names == LANGUAGES
    assert [c.sound.load(16_000).size for c in manifest.clips[:2]] == [400, 200]
    # A list that is not the published one never makes a complete copy.
    assert manifest.missing == (NOT_NAMED,)
    assert "not the published list" in manifest.notes[0]
    assert not TASK.expected


@pytest.mark.parametrize("n", [3, 7, 10, 20, 30, 101, 1_234])
def test_the_split_is_that_of_tensorflow_datasets(n):
    tfds = pytest.importorskip("tensorflow_datasets.audio.voxforge")
    # Upper case sorts before lower case, "-" and "_" around digits: order decides the shuffle.
    speakers = [f"{'aBc_Z9'[i % 6]}{i * 7919 % n}x{i}" for i in range(n)]
    pairs = [(f"{s}-{i}", s) for s in speakers for i in range(2)]
    chosen = [("train", 0.7), ("validation", 0.1), ("test", 0.2)]
    theirs = tfds._get_inter_splits_by_group(pairs, chosen, 0)
    ours = split_speakers(s for _, s in reversed(pairs))
    for part in ("train", "validation", "test"):
        assert {item for item, s in pairs if ours[s] == part} == set(theirs.get(part, ()))


def test_a_sum_of_fractions_is_cut_off_just_below_its_value():
    """0.7 + 0.1 < 0.8 in floating point: the eighth of ten speakers is for testing."""
    parts = sorted(split_speakers("abcdefghij").values())
    assert parts == ["test"] * 3 + ["train"] * 7


def test_absent_archives_are_missing_and_move_no_split(root, tmp_path):
    gone = ["anna-20080101-aaa", "kim-20080101-kkk"]
    for stem in gone:
        (root / address(stem, NAMES[stem])).unlink()
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == (*(f"{stem}.tgz" for stem in gone), NOT_NAMED)
    assert listing(manifest) == [e for e in expected_listing() if e[0].split("/")[0] not in gone]


def test_unpacked_folders_give_the_same_clips_wherever_they_lie(root, tmp_path):
    for number, (stem, language) in enumerate(NAMES.items()):
        if number % 2:
            (root / address(stem, language)).unlink()
            unpack(root / "unpacked" / language, members(stem))
    manifest = TASK.read(Places(tmp_path))
    assert listing(manifest) == expected_listing()
    # Recordings that lie in the folder and are not listed take no part.
    unpack(root / "unpacked", members("stranger-20080101-xxx"))
    assert listing(TASK.read(Places(tmp_path))) == expected_listing()


def test_the_listed_place_is_preferred_to_another_rate(root, tmp_path):
    stem = "bob-20080101-bbb"
    other = root / address(stem, "en").replace("Main/16kHz_16bit", "Alternative/48kHz_16bit")
    pack(other, {f"{stem}/wav/a.wav": wav(9), f"{stem}/wav/b.wav": wav(9)})
    manifest = TASK.read(Places(tmp_path))
    sizes = [c.sound.load(16_000).size for c in manifest.clips if c.id.startswith(stem)]
    assert sizes == [400, 200]


def test_an_empty_folder_does_not_hide_its_archive(root, tmp_path):
    (root / address("bob-20080101-bbb", "en").removesuffix(".tgz")).mkdir()
    assert listing(TASK.read(Places(tmp_path))) == expected_listing()


def test_damaged_archives_are_missing_with_a_note(root, tmp_path):
    path = root / address("dan-20080101-ddd", "fr")
    path.write_bytes(path.read_bytes()[:100])
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == ("dan-20080101-ddd.tgz", NOT_NAMED)
    assert "missing: 1; " in manifest.notes[1] and path.name in manifest.notes[1]


def test_archives_with_flac_only_are_there_but_have_no_clips(root, tmp_path):
    stem = "dan-20080101-ddd"
    pack(root / address(stem, "fr"), {f"{stem}/flac/a.flac": b"fLaC"})
    manifest = TASK.read(Places(tmp_path))
    assert manifest.missing == (NOT_NAMED,)
    assert "without any .wav file: 1, for example dan-" in manifest.notes[1]
    assert listing(manifest) == [e for e in expected_listing() if not e[0].startswith("dan-")]


def test_addresses_may_have_quotes_schemes_and_the_servers_other_names(root, tmp_path):
    lines = [f'"http://{address(stem, language)}"' for stem, language in NAMES.items()]
    text = "\r\n".join(lines).replace("/en/", "/SpeechCorpus/").replace("/ru/", "/Russian/")
    (root / "voxforge_urls.txt").write_text(text)
    assert listing(TASK.read(Places(tmp_path))) == expected_listing()


@pytest.mark.parametrize(
    "line",
    [
        address("lee-20080101-lll", "nl"),
        address("lee-20080101-lll", "de").replace(".tgz", ".zip"),
        "www.repository.voxforge1.org/downloads/de/lee-20080101-lll.tgz",
    ],
)
def test_malformed_lines_are_named(root, tmp_path, line):
    with open(root / "voxforge_urls.txt", "a") as file:
        file.write(line)
    with pytest.raises(HaresError, match=r"voxforge_urls\.txt, entry 13: "):
        TASK.read(Places(tmp_path))


def test_an_archive_in_two_languages_is_refused(root, tmp_path):
    with open(root / "voxforge_urls.txt", "a") as file:
        file.write(address("kim-20080101-kkk", "de"))
    with pytest.raises(HaresError, match=r"entry 13: kim-20080101-kkk\.tgz is listed twice"):
        TASK.read(Places(tmp_path))


def test_absent_data_say_how_to_get_them(root, tmp_path):
    (root / "www.repository.voxforge1.org").rename(tmp_path / "elsewhere")
    with pytest.raises(HaresError, match=r"None of the 12 archives .*\n.*tfds-data"):
        TASK.read(Places(tmp_path))
    (root / "voxforge_urls.txt").unlink()
    with pytest.raises(HaresError, match=r"no voxforge_urls\.txt"):
        TASK.read(Places(tmp_path))
