"""What a training run ends with: a page to look at, and its scores in the terminal."""

from fastlstm.report.attention import AttendedSentence, attention
from fastlstm.report.classes import Confusion, LabelScores, confusion_matrix, label_scores
from fastlstm.report.configuration import configuration
from fastlstm.report.errors import ReportError
from fastlstm.report.forecasts import Forecast, HorizonErrors, forecasts, horizon_errors
from fastlstm.report.formats import duration
from fastlstm.report.learning import LearningCurves, learning_curves
from fastlstm.report.metrics import Metric, Scores, metric_table
from fastlstm.report.mistakes import Mistake, worst_mistakes
from fastlstm.report.page import Summary, render, write
from fastlstm.report.section import Section
from fastlstm.report.tagging import Recording, TaggedSentence, recordings, tagged_sentences
from fastlstm.report.terminal import score_table, text_chart

__all__ = [
    "AttendedSentence",
    "Confusion",
    "Forecast",
    "HorizonErrors",
    "LabelScores",
    "LearningCurves",
    "Metric",
    "Mistake",
    "Recording",
    "ReportError",
    "Scores",
    "Section",
    "Summary",
    "TaggedSentence",
    "attention",
    "configuration",
    "confusion_matrix",
    "duration",
    "forecasts",
    "horizon_errors",
    "label_scores",
    "learning_curves",
    "metric_table",
    "recordings",
    "render",
    "score_table",
    "tagged_sentences",
    "text_chart",
    "worst_mistakes",
    "write",
]
