"""capturebot keeps the evidence that a restart destroys."""

__version__ = "0.1.0"
