"""What is printed goes to the proxy's log, and so does what is raised and not caught:
without this either would end the call as a trap that says nothing. Only in calls:
while the component is built, there is no log."""

import io
import sys
from types import TracebackType

from wit_world.imports import log


class Lines(io.TextIOBase):
    def __init__(self, level: log.Level) -> None:
        self.level = level
        self.begun = ""

    def write(self, text: str) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            log.log(self.level, line, [])
        return len(text)


def tell(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    places = []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    message = f"{kind.__name__}: {error}"
    log.log(log.Level.ERROR, message, [("at", " ".join(places))])


sys.stdout = Lines(log.Level.INFO)
sys.stderr = Lines(log.Level.ERROR)
sys.excepthook = tell
