"""The errors a user can meet, one type per cause, each message one sentence that says what to do."""


class PixelCAMError(Exception):
    """Base of every expected failure; its text is shown to people as it is, without a traceback."""


class ImageError(PixelCAMError):
    """An image is missing, truncated, of a foreign format, or of a shape that cannot be used."""


class SeveralPicturesError(ImageError):
    """A file holds several pictures, none of which is the one that is meant by it."""


class CheckpointError(PixelCAMError):
    """A model file is not a PixelCAM checkpoint, is damaged, or does not fit its own metadata."""


class ModelNotFoundError(PixelCAMError):
    """A model name resolves to nothing that is at hand."""


class DatasetError(PixelCAMError):
    """A data set's folder, fold file, index or mask is missing or contradicts itself."""


class NoMasksError(DatasetError):
    """A data set has no masks at all, where some are asked for."""


class SeedsError(PixelCAMError):
    """Exported seeds are missing, empty, or do not fit their image."""


class OutputError(PixelCAMError):
    """A result cannot be written: read-only folder, full disk, or a file in the way."""


class DeviceError(PixelCAMError):
    """The asked-for compute device is absent or ran out of memory."""


class ConfigError(PixelCAMError):
    """A setting is unknown or out of its range."""


class RunError(PixelCAMError):
    """A run folder is damaged, or its job died without saying why."""


class ProjectError(PixelCAMError):
    """A project is not there, damaged, of a newer version, or out of reach."""


class ProjectLockedError(ProjectError):
    """Somebody works in the project under this reviewer's name already."""


class MissingImageError(ImageError):
    """An image of a project is no longer where it was."""


class ChangedImageError(ImageError):
    """A file is not, byte for byte, the image that the project knows."""


class CancelledError(Exception):
    """The user cancelled; not a failure, so not a `PixelCAMError`."""


def full_memory(error: BaseException) -> str:
    """Return whose memory an error says is full: "device" for a GPU's, "computer", or "" for neither.

    PyTorch tells of some by a type of its own and of others by words alone: those of Apple's GPUs, and of the
    CPU on Linux, macOS and Windows.
    """
    words = str(error)
    if type(error).__name__ == "OutOfMemoryError" or "MPS backend out of memory" in words:
        return "device"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: " in words:
        return "computer"
    return ""
