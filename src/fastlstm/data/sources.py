"""The data sets that are known by name: what each is, whose it is and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastlstm.data import mnist
from fastlstm.data.errors import DataError
from fastlstm.data.files import SourceFile, locate, read_source

GITHUB = "https://raw.githubusercontent.com"
ETT_URL = f"{GITHUB}/zhouhaoyi/ETDataset/main/ETT-small"
SERIES_URL = f"{GITHUB}/jbrownlee/Datasets/master"
MOVIE_REVIEWS_URL = (
    "https://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz"
)
UD_EWT_URL = f"{GITHUB}/UniversalDependencies/UD_English-EWT/r2.16"
GESTURE_URL = (
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00302/gesture_phase_dataset.zip"
)


@dataclass(frozen=True)
class Source:
    """A named data set.

    Args:
        name: as on the command line.
        title: what it is, in one line.
        task: the task it is for: classify, text, tag or forecast.
        size: how much of what it holds, in words.
        licence: as its authors state it.
        files: its files by name; empty for a set that comes inside scikit-learn.
    """

    name: str
    title: str
    task: str
    size: str
    licence: str
    files: Mapping[str, SourceFile]


def _ett(name: str, size: int, sha256: str) -> SourceFile:
    member = f"ETT-small/{name}.csv"
    return SourceFile(
        "ett",
        f"{ETT_URL}/{name}.csv",
        size,
        sha256,
        mirror="ETT-small.zip",
        mirror_member=member,
    )


def _review(name: str, size: int, sha256: str) -> SourceFile:
    member = f"rt-polaritydata/{name}"
    return SourceFile("movie-reviews", MOVIE_REVIEWS_URL, size, sha256, member=member, mirror=name)


def _treebank(part: str, size: int, sha256: str) -> SourceFile:
    name = f"en_ewt-ud-{part}.conllu"
    return SourceFile("ud-ewt", f"{UD_EWT_URL}/{name}", size, sha256, mirror=f"{name}.gz")


def _gesture(name: str, size: int, sha256: str) -> SourceFile:
    return SourceFile(
        "gesture-phase",
        GESTURE_URL,
        size,
        sha256,
        member=name,
        mirror="gesture_phase_dataset.zip",
        mirror_member=name,
    )


def _mnist(file: mnist.IdxFile, size: int) -> SourceFile:
    return SourceFile("mnist", mnist.MIRROR + file.name, size, file.sha256)


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            "airline",
            "monthly totals of airline passengers, 1949 to 1960 (Box & Jenkins 1976)",
            "forecast",
            "1 series of 144 months",
            "public domain",
            {
                "airline-passengers": SourceFile(
                    "airline",
                    f"{SERIES_URL}/airline-passengers.csv",
                    2_180,
                    "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
                )
            },
        ),
        Source(
            "digits",
            "scanned handwritten digits of 8x8 pixels, inside scikit-learn",
            "classify",
            "1,797 images of 10 classes",
            "CC BY 4.0",
            {},
        ),
        Source(
            "ett",
            "oil temperature and six loads of electricity transformers (Zhou et al. 2021)",
            "forecast",
            "2 hourly series of 17,420 and 2 of 69,680 quarter-hours, 7 columns each",
            "CC BY-ND 4.0",
            {
                "ETTh1": _ett(
                    "ETTh1",
                    2_589_657,
                    "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
                ),
                "ETTh2": _ett(
                    "ETTh2",
                    2_417_960,
                    "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
                ),
                "ETTm1": _ett(
                    "ETTm1",
                    10_360_719,
                    "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
                ),
                "ETTm2": _ett(
                    "ETTm2",
                    9_677_236,
                    "db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd",
                ),
            },
        ),
        Source(
            "gesture-phase",
            "Kinect recordings of people who tell a story, a phase for every frame (Madeo 2013)",
            "tag",
            "7 recordings of 3 people, 9,901 frames (9,873 derived), 5 phases",
            "CC BY 4.0",
            {
                "a1_raw": _gesture(
                    "a1_raw.csv",
                    307_711,
                    "83012e2caf7d7d31733a3048e2051ea39f88793832d7c126a8e3b9565f4750e1",
                ),
                "a2_raw": _gesture(
                    "a2_raw.csv",
                    222_794,
                    "bfc8cf68484638088c34fdb6f902daefb3df8eab90a00754b19ad0f90ee61d3a",
                ),
                "a3_raw": _gesture(
                    "a3_raw.csv",
                    325_436,
                    "7aa269527b1e7a7262e9d8b0e8a8763ca20016792a24920ee10a5a02cde3a2b5",
                ),
                "b1_raw": _gesture(
                    "b1_raw.csv",
                    190_855,
                    "d57a2a3da1dfc00e0bcb0c6b5bc2b4746a0992e3a3dea0aec4bc370360d17a7a",
                ),
                "b3_raw": _gesture(
                    "b3_raw.csv",
                    252_965,
                    "9a437133ef5464526f42f5e505897518aa51781d165fe5291ee85389d87b32ff",
                ),
                "c1_raw": _gesture(
                    "c1_raw.csv",
                    196_335,
                    "ddf0cda9a0f721a1db55ece244f6ee82bfceb53b85dc613563a5fb921ad1bf2d",
                ),
                "c3_raw": _gesture(
                    "c3_raw.csv",
                    256_512,
                    "ac3eb37659fc91dbead9b11ed18ebb999be4d533ac46e94e39d7b01ace4a1602",
                ),
                "a1_va3": _gesture(
                    "a1_va3.csv",
                    639_477,
                    "df3fcdd481cf746e10e380c02f28d4554d7d67e53eda5bfd8b861dcb2037300c",
                ),
                "a2_va3": _gesture(
                    "a2_va3.csv",
                    462_138,
                    "3f921cab6fc8395b26ec772874583fe4eb211e15f856b6bfb45627cf4620fa48",
                ),
                "a3_va3": _gesture(
                    "a3_va3.csv",
                    672_161,
                    "0ef1ae696b179eccfdfc85cdaf6abcf83ff95209060e94185d0b9dfbbed765d3",
                ),
                "b1_va3": _gesture(
                    "b1_va3.csv",
                    392_365,
                    "fc530377ccf5da9fb8d82df04806d853afe988cc3dfead00608696a4a321875b",
                ),
                "b3_va3": _gesture(
                    "b3_va3.csv",
                    521_040,
                    "011a99aa42d984a9ad5f31e191fd6b9f6c4e72ae75c63e804c5e8905b896d115",
                ),
                "c1_va3": _gesture(
                    "c1_va3.csv",
                    406_343,
                    "4f4fe22b7839f696ee0fa8cd50aa6ae8082224db6ddb0767c5d405aa3d98ea42",
                ),
                "c3_va3": _gesture(
                    "c3_va3.csv",
                    530_068,
                    "032dd63b2a5ca1a0b21bfa3feae06cc09bb9f9cf2d4254c621f87cfff3186c42",
                ),
            },
        ),
        Source(
            "mnist",
            "handwritten digits of 28x28 pixels (LeCun et al. 1998)",
            "classify",
            "60,000 + 10,000 images of 10 classes",
            "CC BY-SA 3.0",
            {
                "train-images": _mnist(mnist.TRAIN_IMAGES, 47_040_016),
                "train-labels": _mnist(mnist.TRAIN_LABELS, 60_008),
                "test-images": _mnist(mnist.TEST_IMAGES, 7_840_016),
                "test-labels": _mnist(mnist.TEST_LABELS, 10_008),
            },
        ),
        Source(
            "movie-reviews",
            "sentences of film reviews, positive or negative (Pang & Lee 2005)",
            "text",
            "5,331 + 5,331 sentences",
            "CC BY 4.0",
            {
                "negative": _review(
                    "rt-polarity.neg",
                    612_256,
                    "4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca",
                ),
                "positive": _review(
                    "rt-polarity.pos",
                    626_139,
                    "2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0",
                ),
            },
        ),
        Source(
            "sunspots",
            "monthly numbers of sunspots, 1749 to 1983 (Andrews & Herzberg 1985)",
            "forecast",
            "1 series of 2,820 months",
            "public domain",
            {
                "monthly-sunspots": SourceFile(
                    "airline",
                    f"{SERIES_URL}/monthly-sunspots.csv",
                    45_039,
                    "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
                )
            },
        ),
        Source(
            "ud-ewt",
            "English web text with parts of speech and features (Silveira et al. 2014)",
            "tag",
            "12,544 / 2,001 / 2,077 sentences",
            "CC BY-SA 4.0",
            {
                "train": _treebank(
                    "train",
                    14_203_025,
                    "4f5bf82b493c2ae7563889e57a87c02e6e9ee8ccbba417a899c73ff09a4807a6",
                ),
                "validation": _treebank(
                    "dev",
                    1_805_545,
                    "531a54ff90d6ab12201c5a50c3e78e6ddac4de69abc4bce5d275d3cd29efe2b6",
                ),
                "test": _treebank(
                    "test",
                    1_804_515,
                    "e266e515a0a7547657ed3d90d9ba46487d6bd251f27ad4269d4e8a427c8555cd",
                ),
            },
        ),
    )
}


def list_sources() -> list[Source]:
    """All named data sets, in the order of their names."""
    return [SOURCES[name] for name in sorted(SOURCES)]


def find_source(name: str) -> Source:
    """The data set of that name.

    Raises:
        DataError: there is none.
    """
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r}: expected one of {', '.join(sorted(SOURCES))}")
    return SOURCES[name]


def get_source(name: str) -> list[Path]:
    """Fetch a data set into the cache (or find it in `$FASTLSTM_DATA`) and check all of it.

    Returns:
        The files that hold it, each once, in the order of the registry; none for `digits`.

    Raises:
        DataError: the name is unknown; or a file is missing, damaged or not the official one, or
            its download failed.
    """
    paths: dict[Path, None] = {}
    for file in find_source(name).files.values():
        read_source(file)
        paths[locate(file).path] = None
    return list(paths)
