"""The two ways in which the harness itself fails, apart from what it tests."""


class Failure(Exception):
    """The harness could not do its work. The message is the one line that the user reads."""


class OutOfReach(Failure):
    """A suite, a package or a kernel is not offered here and now; others may be."""
