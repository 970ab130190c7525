"""What runs beside what: as many steps at once as pay, in the order of the plan.

Emulated CPUs that wait for each other while the host runs another machine's
cost more than they do, so the CPUs of all that runs are counted. More of them
than the host has still pay: a case that waits for a hang, a boot and a linker
leave theirs idle. What compiles waits for cargo's lock anyway, so of the steps
without a machine one runs at a time, beside the machines.
"""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from . import child
from .step import Step


def fitting(waiting: Sequence[Step], running: Collection[Step], ready: bool, most: int, budget: int) -> Step | None:
    """The first step that may begin beside those that run; machines must be `ready`."""
    if any(step.alone for step in running) or len(running) >= most:
        return None
    left = budget - sum(step.cpus for step in running)
    for step in waiting:
        if step.alone:
            # Last, and with nothing beside it.
            if running or not all(other.alone for other in waiting):
                continue
        elif running and step.cpus > left:
            continue
        elif not step.kernel and any(not other.kernel for other in running):
            continue
        if step.kernel and not ready:
            continue
        return step
    return None


def run(steps: Sequence[Step], do: Callable[[Step], None], ready: Future[None], jobs: int) -> None:
    """Do all steps. Those with a machine wait for what `ready` makes, and are begun even if that fails: `do` tells."""
    waiting = list(steps)
    running: dict[Future[None], Step] = {}
    # Two machines of two CPUs and one of one, by default: see above.
    budget = 2 * jobs - 1
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                while step := fitting(waiting, running.values(), ready.done(), jobs, budget):
                    waiting.remove(step)
                    running[pool.submit(do, step)] = step
                # Each step has a deadline of its own, and so has all that makes machines ready.
                ended = wait([*running, *([] if ready.done() else [ready])], return_when=FIRST_COMPLETED).done
                for future in ended - {ready}:
                    del running[future]
                    future.result()
        except BaseException:
            # Those that run must end, and no other begins.
            child.stop()
            raise
