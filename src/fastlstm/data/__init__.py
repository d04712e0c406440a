"""Data sets, read and checked, and how they become tensors. Nothing here knows a model."""

from fastlstm.data.calendar import CALENDAR, calendar_features, usual_calendar
from fastlstm.data.column_names import check_columns
from fastlstm.data.digits import load_digits
from fastlstm.data.errors import DataError
from fastlstm.data.filling import Fill
from fastlstm.data.frames import LabelledRecordings, load_gesture_phase
from fastlstm.data.frequency import Frequency
from fastlstm.data.images import ImageDataset
from fastlstm.data.labels import LabelIndex, Labels, class_weights
from fastlstm.data.mnist import load_mnist
from fastlstm.data.named import (
    ETT_COLUMNS,
    ETT_NAMES,
    LabelledTexts,
    Treebank,
    load_airline,
    load_ett,
    load_movie_reviews,
    load_sunspots,
    load_ud_ewt,
)
from fastlstm.data.numbered_texts import NumberedTexts, learn_words
from fastlstm.data.plain_text import read_text
from fastlstm.data.scaling import Scaler
from fastlstm.data.sequences import (
    Sequences,
    images_by_pixels,
    images_by_rows,
    pad_ids,
    pad_vectors,
)
from fastlstm.data.series import (
    FrameStyle,
    SeriesColumns,
    SeriesSet,
    StaticCovariates,
    series_from_array,
)
from fastlstm.data.series_frames import (
    SeriesRows,
    forecast_frame,
    read_future,
    read_rows,
    read_series,
    series_of_rows,
    stamped_frame,
)
from fastlstm.data.sources import SOURCES, Source, find_source, get_source, list_sources
from fastlstm.data.split import (
    combined_ids,
    k_fold,
    leave_one_group_out,
    split_groups,
    split_share,
    split_stratified,
)
from fastlstm.data.tables import read_table, release_memory
from fastlstm.data.tagged import (
    TaggedSentences,
    read_conll,
    read_conllu,
    read_tagged_json_lines,
)
from fastlstm.data.text import (
    SubwordEncoder,
    TextEncoder,
    VocabularyEncoder,
    load_text_encoder,
    split_words,
)
from fastlstm.data.text_columns import TextColumn
from fastlstm.data.vocabulary import Vocabulary
from fastlstm.data.windows import TimeRange, WindowBatch, Windows, ett_ranges, latest_windows
from fastlstm.data.word_vectors import WordVectors, read_word_vectors

__all__ = [
    "CALENDAR",
    "ETT_COLUMNS",
    "ETT_NAMES",
    "SOURCES",
    "DataError",
    "Fill",
    "FrameStyle",
    "Frequency",
    "ImageDataset",
    "LabelIndex",
    "LabelledRecordings",
    "LabelledTexts",
    "Labels",
    "NumberedTexts",
    "Scaler",
    "Sequences",
    "SeriesColumns",
    "SeriesRows",
    "SeriesSet",
    "Source",
    "StaticCovariates",
    "SubwordEncoder",
    "TaggedSentences",
    "TextColumn",
    "TextEncoder",
    "TimeRange",
    "Treebank",
    "Vocabulary",
    "VocabularyEncoder",
    "WindowBatch",
    "Windows",
    "WordVectors",
    "calendar_features",
    "check_columns",
    "class_weights",
    "combined_ids",
    "ett_ranges",
    "find_source",
    "forecast_frame",
    "get_source",
    "images_by_pixels",
    "images_by_rows",
    "k_fold",
    "latest_windows",
    "learn_words",
    "leave_one_group_out",
    "list_sources",
    "load_airline",
    "load_digits",
    "load_ett",
    "load_gesture_phase",
    "load_mnist",
    "load_movie_reviews",
    "load_sunspots",
    "load_text_encoder",
    "load_ud_ewt",
    "pad_ids",
    "pad_vectors",
    "read_conll",
    "read_conllu",
    "read_future",
    "read_rows",
    "read_series",
    "read_table",
    "read_tagged_json_lines",
    "read_text",
    "read_word_vectors",
    "release_memory",
    "series_from_array",
    "series_of_rows",
    "split_groups",
    "split_share",
    "split_stratified",
    "split_words",
    "stamped_frame",
    "usual_calendar",
]
