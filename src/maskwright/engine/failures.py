"""What stops a training, as errors that say what to do."""

from ..errors import MaskwrightError, TrainingError


def named(error: BaseException, *, images: int) -> BaseException:
    """Turn what a lost data worker or a batch of one image raises into a named error; leave the rest.

    Args:
        error: what a training raised.
        images: that it trains on.
    """
    if "Expected more than 1 value per channel" in str(error):
        # Behind a mean over the whole image, batch normalisation of a single image has one value per channel.
        cure = "give it more images" if images == 1 else "set train.batch_size to at least 2"
        return TrainingError(
            f"this model cannot train on a batch of one image (batch normalisation needs several values); {cure}"
        )
    # A worker that dies while it hands over a batch breaks the connection before PyTorch notices its death.
    if "DataLoader worker" in str(error) or isinstance(error, ConnectionError | EOFError):
        return TrainingError(
            f"a data worker died ({error}); the last checkpoint is intact: run the same command again, "
            "with train.workers=0 if it happens again"
        )
    return error


def without_traceback(error: MaskwrightError) -> MaskwrightError:
    """Return the error of a data worker with its own message instead of the worker's whole traceback."""
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    if "Original Traceback" not in str(error) or marker not in str(error):
        return error
    return type(error)(str(error).rpartition(marker)[2].strip())
