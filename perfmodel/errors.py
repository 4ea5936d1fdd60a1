"""The errors that perfplan raises, by what the caller can do about them.

PerfplanError            exit code 1
├── InputError           2   a file, an option or an argument says something we cannot accept
├── UnstableError        4   the offered load exceeds what the executors can serve
├── ExtrapolationError   5   the question lies outside the calibrated range
├── UndecidedError       6   it cannot be told, and the message says what it would take
└── InterruptionError  130   the user ended the run
"""

from collections.abc import Mapping


class PerfplanError(Exception):
    """Base of all errors that perfplan raises on purpose; the message is one line for the user."""

    exit_code = 1


class InputError(PerfplanError, ValueError):
    """A file, an option or an argument says something we cannot accept."""

    exit_code = 2


class Note(UserWarning):
    """Something worth a line beside the answer; the command line prints each once, on stderr."""


class CacheWarning(Note):
    """The answer stands, but what would make the next one faster could not be kept or read."""


class CalibrationWarning(Note):
    """The answer stands, but what it was calibrated on differs from where it is asked for."""


class UnstableError(PerfplanError):
    """The offered load exceeds what the executors can serve; no percentile exists.

    Parameters
    ----------
    message : str
        One line: what is overloaded and by how much.
    utilisation : float
        Offered load over capacity of the most loaded executor pool, >= 1. [1]
    """

    exit_code = 4

    def __init__(self, message: str, *, utilisation: float) -> None:
        super().__init__(message)
        self.utilisation = utilisation


class ExtrapolationError(PerfplanError):
    """The question lies outside the calibrated range; `--extrapolate` answers it, marked."""

    exit_code = 5


class UndecidedError(PerfplanError):
    """It cannot be told; the message says what it would take."""

    exit_code = 6


class InterruptionError(PerfplanError):
    """The user ended the run; the message says what was kept, and how to go on."""

    exit_code = 130  # 128 + SIGINT, as a shell reports it


SLA_MISSED = 3
DRIFTED = 7
"""Exit code where the load is no longer that of a scenario."""
EXIT_CODES: Mapping[str, int] = {
    "meets_sla": 0,
    "misses_sla": SLA_MISSED,
    "unstable": UnstableError.exit_code,
    "within_error": UndecidedError.exit_code,
}
"""By verdict."""
