"""One error for bad input, and the door every command-line program goes through.

- `InputError`: what came, what was expected, the nearest right name, what to type; one sentence.
- `unknown(kind, name, known)`: the sentence for a wrong name.
- `exit_with_sentence(main)`: a program prints that sentence and exits with 2 instead of a traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import sys
from collections.abc import Callable, Iterable


class InputError(ValueError):
    """Bad input from the user; its text is one clear sentence."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a wrong name: says the nearest right one and lists what there is.

    Args:
        kind: what was asked for, as in "suite".
        name: what came.
        known: the right names.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(known) or 'none'})")


def _sentence(error: OSError) -> str:
    where = f" {error.filename!r}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full: could not write{where}; free some space and run the same command again"
    return f"{error.strerror or error}:{where}"


def exit_with_sentence(main: Callable[..., None]) -> Callable[..., None]:
    """Wrap a program's main: `InputError` and file errors become one sentence on stderr and exit status 2."""

    @functools.wraps(main)
    def run(*args: object, **kwargs: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError):  # whatever stands in for them
                stream.reconfigure(errors="replace")  # a letter that the terminal does not know ends no work
        try:
            main(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:
            print(f"error: {_sentence(error)}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            raise SystemExit(130) from None

    return run
