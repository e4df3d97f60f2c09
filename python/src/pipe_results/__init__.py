"""The results of pipe's runs for Python: runs, metrics, tables and arrays.

All is asked of the program `pipe`, whose answers have a version; nothing here reads the files of a cache.
"""

from pipe_results.comparing import Comparison, compare
from pipe_results.errors import PipeError, ProgramNotFound, RunFailed
from pipe_results.runs import Run, run, runs
from pipe_results.starting import init, start

__all__ = [
    "Comparison",
    "PipeError",
    "ProgramNotFound",
    "Run",
    "RunFailed",
    "compare",
    "init",
    "run",
    "runs",
    "start",
]
