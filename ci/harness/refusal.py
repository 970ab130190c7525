"""What a machine could not do, or would do in vain: told of the words that were typed for it, in a line, before it boots.

The guest sees the host's files, has the devices of `pmem`, and keeps what is written to the folder of its results. What
the runner's words mean is the runner's to judge.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import child, guest, pmem
from .build import PROGRAMS
from .options import Options

# What the runner calls a file or a folder that it writes, and what to do in its place where the machine runs the suite.
WRITTEN = {
    "--bless": "--bless without --runner updates expected/",
    "--html": "afterwards: runner report {folder} --html {path}",
    "--junit": "afterwards: runner report {folder} --junit {path}",
    "--output": "",
    "--results": "--results without --runner names another folder",
    "--resume": "",
    "--table": "",
    "--update": "",
    "--xfstests": "",
}


def typed(asked: Options) -> Sequence[str]:
    """What the user has to say to the runner, if the machine is to run that."""
    if asked.command is None:
        return asked.runner
    return asked.command[1:] if asked.command[0] == "runner" else []


def values(words: Sequence[str], option: str) -> Iterator[str]:
    """What an option is set to, as often as it is."""
    for word, following in zip(words, [*words[1:], None]):
        name, equals, value = word.partition("=")
        if name != option:
            continue
        if equals:
            yield value
        elif following is not None:
            yield following


def device(asked: Options) -> str | None:
    """Why the runner would not find its devices."""
    there = pmem.devices(asked.append)
    for name in values(typed(asked), "--dev"):
        if name not in there:
            return f"--dev {name}: a machine has {' and '.join(there)}, and no other device to test"
    return None


def unkept(asked: Options, folder: Path) -> str | None:
    """What the runner would write and nobody would find: the results go to `folder`, and the rest with the machine."""
    for option, instead in WRITTEN.items():
        for path in values(typed(asked), option):
            if path == "-" or Path(path).resolve().is_relative_to(folder.resolve()):
                continue
            hint = "" if asked.command else instead.format(folder=folder, path=path)
            return f"{option} {path}: of what a machine writes only {folder} is kept{hint and f'; {hint}'}"
    return None


def command(word: str, where: Path) -> str | None:
    """Why a machine that stands in the folder `where` would not find a command."""
    if "/" in word:
        return file(where / word)
    # As the guest's shell looks for it, whose own words are commands too.
    looking = ["sh", "-c", 'command -v "$1"', "sh", word]
    environment = {**os.environ, "PATH": guest.PATH}
    pipes = {"stdout": child.DEVNULL, "stderr": child.DEVNULL, "env": environment}
    if word in PROGRAMS or child.finish(looking, f"looking for {word}", **pipes).returncode == 0:
        return None
    return f"no command {word}: a machine has {', '.join(PROGRAMS)} and what is in {guest.PATH}; a path does as well"


def file(path: Path) -> str | None:
    """Why a file is no command."""
    if any(path.is_relative_to(folder) for folder in guest.OWN):
        return None
    if not path.exists():
        return f"no command {path}: there is no such file"
    return None if path.is_file() and os.access(path, os.X_OK) else f"no command {path}: it is no program that can be run"
