"""Does an idle agent answer? Its host counts the pings that nothing came after."""


class Pulse:
    """Beats with the pings, so that the time between two of them is what an agent has to answer in.

    Only an idle agent is judged: while a job runs, others watch over it. Anything that the agent says is an answer, and
    one that waits to be read counts: a worker that stood still itself blames nobody.

    Attributes:
        missed: How many pings in a row were not answered.
    """

    def __init__(self) -> None:
        self.missed = 0
        self._is_owed = False

    def heard(self) -> None:
        """The agent said something."""
        self.missed = 0
        self._is_owed = False

    def beat(self, *, is_idle: bool) -> None:
        """The next ping is about to leave, and what had come until now was read."""
        if is_idle and self._is_owed:
            self.missed += 1
        elif not is_idle:
            self.missed = 0
        self._is_owed = is_idle
