"""Jobs that join a data set, a model and the training loop."""

from fastlstm.tasks.image_rows import (
    DEFAULT_EPOCHS,
    ImageRowSettings,
    Score,
    SettingsError,
    default_epochs,
    evaluate_image_rows,
    train_image_rows,
)

__all__ = [
    "DEFAULT_EPOCHS",
    "ImageRowSettings",
    "Score",
    "SettingsError",
    "default_epochs",
    "evaluate_image_rows",
    "train_image_rows",
]
