"""Runs another script as its own process would be run, and ends the process itself.

usage: run.py SCRIPT ARGUMENT…

The threads of the Delta reader's file systems may outlive the interpreter, whose end then aborts the process although all was said.
"""

import os
import runpy
import sys
import traceback

status = 0
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as exit:
    status = 0 if exit.code is None else exit.code if isinstance(exit.code, int) else 1
except BaseException:
    traceback.print_exc()
    status = 1
for stream in (sys.stdout, sys.stderr):
    try:
        stream.flush()
    except BrokenPipeError:
        pass
os._exit(status)
