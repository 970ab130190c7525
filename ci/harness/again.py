"""The `ci/vm` that does something again, typed from where the user stands."""

import functools
import os
import shlex
import shutil
import sys
from pathlib import Path

from . import say
from .failure import Failure
from .options import Options, parser


def command(asked: Options, kernel_name: str, filesystem: str) -> str:
    """The words that boot the same machine; what the runner is told comes after them, or the command."""
    words = [*interpreter(), program(), "--kernel", kernel_name]
    words += [] if asked.command else ["--fs", filesystem]
    if asked.fault:
        words += ["--fault", asked.fault]
    if asked.beside:
        words += ["--beside", asked.beside]
    default = parser().get_default
    for option, value in (("--memory", asked.memory), ("--cpus", asked.cpus)):
        if value != default(option.lstrip("-")):
            words += [option, str(value)]
    for options in asked.append:
        words += [f"--append={options}"]
    if asked.icount:
        words += ["--icount"]
    elif asked.kvm != default("kvm"):
        words += ["--kvm", asked.kvm]
    words += ["--release"] if asked.release else []
    words += ["--"] if asked.command else []
    return shlex.join(words)


def program() -> str:
    """This program, as it is called from the working directory."""
    path = Path(sys.argv[0]).resolve()
    near = os.path.relpath(path)
    if near.startswith(".."):
        return str(path)
    return f"./{near}"


@functools.cache
def interpreter() -> list[str]:
    """The Python that must be named, if a program would not find the one that runs this."""
    own = Path(sys.executable)
    if found_as("python3") == own.resolve():
        return []
    return [own.name if found_as(own.name) == own.resolve() else str(own)]


def found_as(name: str) -> Path | None:
    """The Python that a name on the PATH stands for. It may be a script that looks for one, so it is asked."""
    if shutil.which(name) is None:
        return None
    try:
        return Path(say.run([name, "-c", "import sys; print(sys.executable)"], f"asking {name}").strip()).resolve()
    except Failure:
        return None
