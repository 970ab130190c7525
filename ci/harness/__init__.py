"""What `ci/vm` and `ci/test` are made of.

One idea a file. The order in which they build on each other:

    failure -> child -> say -> cache -> apt -> host, qemu, vng
    config, image -> kernel -> guest -> machine
    entry
    journal, machine -> suite -> cli
    machine -> run -> red, crash, variants
    step -> outcome, plan, schedule -> check

Nothing here knows what a case is or how one is judged: that is the runner's.
"""
