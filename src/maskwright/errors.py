"""The errors that users meet. Each message says what came, what was expected, and what to do.

The command line prints the message alone, without a traceback, and exits with `exit_code`.
"""


class MaskwrightError(Exception):
    """Base of every error that a user can cause or cure."""

    exit_code = 2


class ConfigError(MaskwrightError):
    """A setting is unknown, of the wrong type or out of range."""


class ImageError(MaskwrightError):
    """A file is not a readable image, or too large, or of a kind that has no stated conversion."""


class DataError(MaskwrightError):
    """Images and masks do not fit together: missing pairs, sizes, labels, splits."""


class CheckpointError(MaskwrightError):
    """A checkpoint is missing, damaged, hostile, or belongs to another model."""


class WriteError(MaskwrightError):
    """A result could not be written: no space, no permission, no such folder."""


class TrainingError(MaskwrightError):
    """Training cannot go on: a loss that is not finite, a lost data worker, too little memory."""

    exit_code = 1


class BatchError(MaskwrightError):
    """Some files of a batch failed; the rest were done."""

    exit_code = 1


class Terminated(MaskwrightError):
    """A signal asked to stop; a checkpoint was written and the run can be resumed.

    Args:
        message: what was stopped and how it goes on.
        exit_code: 128 + the signal's number: 143 for SIGTERM, 130 for Ctrl-C.
    """

    def __init__(self, message: str, *, exit_code: int = 143) -> None:
        super().__init__(message)
        self.exit_code = exit_code
