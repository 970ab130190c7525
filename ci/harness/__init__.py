"""What the commands of ci/ are made of.

One idea a file. The order in which they build on each other:

    failure -> child -> say -> cache -> apt -> host, qemu, vng
    config, image -> kernel -> guest -> machine
    entry
    pmem -> guest
    kernel -> options -> refusal -> cli
    journal -> machine -> suite -> cli
    journal, results -> run
    build, run -> red, crash, variants
    run -> step -> schedule -> check
    journal -> outcome -> check

Nothing here knows what a case is or how one is judged: that is the runner's.
"""

import os
import sys

# Every command comes by here first, so this file, and what a command does before, is written for an older Python.
if sys.version_info < (3, 11):
    _own = "ci/" + os.path.basename(sys.argv[0])
    sys.stderr.write(
        "%s: Python 3.11 or newer is needed, and %s is %d.%d; if there is a newer one: python3.11 %s\n"
        % (_own, sys.executable, sys.version_info[0], sys.version_info[1], _own)
    )
    # A bisection must not take it for a bad kernel.
    sys.exit(128 if "--bisect" in sys.argv else 2)
